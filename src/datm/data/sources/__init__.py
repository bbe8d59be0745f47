"""One reader per kind of source, and `find_reader`, which knows them all."""

from datm.data.sources.find import find_reader

__all__ = ["find_reader"]
