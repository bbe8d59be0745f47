"""A network from one line of text, such as "convnet-3" or "convnet-2,width=32,norm=batch"."""

import difflib
import re
from typing import Any, get_args

from datm.errors import InputError
from datm.networks.convnet import ConvNet, Norm, Pooling
from datm.networks.functional import Network
from datm.runtime.device import Precision

OPTIONS = {"norm": get_args(Norm), "pooling": get_args(Pooling)}


def make_network(
    spec: str, shape: tuple[int, int, int], classes: int, precision: Precision = "float32"
) -> Network:
    """The network that `spec` names, for images of `shape` (c, H, W) and K = `classes`.

    Raises InputError for an unknown name, option or value.
    """
    name, *options = [part.strip() for part in spec.split(",")]
    match = re.fullmatch(r"convnet-(\d+)", name)
    if not match:
        close = difflib.get_close_matches(name, [f"convnet-{depth}" for depth in range(1, 7)], 1)
        hint = f"did you mean {close[0]!r}?" if close else "networks are convnet-1 to convnet-6."
        raise InputError(f"network: {name!r} is not known; {hint}")
    settings = dict(_option(spec, option) for option in options)
    if len(settings) < len(options):
        raise InputError(f"network: {spec!r} gives an option twice; give it once.")
    return ConvNet(shape, classes, depth=int(match[1]), precision=precision, **settings)


def _option(spec: str, text: str) -> tuple[str, Any]:
    key, _, value = (part.strip() for part in text.partition("="))
    if key == "width" and value.isdecimal():
        return key, int(value)
    if key in OPTIONS and value in OPTIONS[key]:
        return key, value
    allowed = "; ".join(f"{name} is one of {', '.join(values)}" for name, values in OPTIONS.items())
    raise InputError(f"network: {text!r} in {spec!r} is no option; width is a number; {allowed}.")
