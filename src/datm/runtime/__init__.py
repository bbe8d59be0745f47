"""What every stage stands on: devices, seeds, files, logs. Imports nothing else of datm."""
