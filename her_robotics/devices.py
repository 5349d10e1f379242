"""Where training computes: on the processor, or on a GPU that PyTorch can use."""

import torch

from .errors import UserError, first_line


def choose_device(asked: str) -> torch.device:
    """The device for ``cpu``, ``cuda`` or ``auto``; auto takes a GPU where there is one.

    Raises:
        UserError: if a GPU is asked for and PyTorch can use none.
    """
    reason = no_gpu()
    if asked == "cuda" and reason:
        raise UserError(f"train.device = cuda cannot be had: {reason}; choose cpu, or auto")
    return torch.device("cpu" if asked == "cpu" or reason else "cuda")


def no_gpu() -> str | None:
    """Why PyTorch can use no GPU here; None if it can."""
    if not torch.backends.cuda.is_built():
        return f"PyTorch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        return f"the GPU cannot be used ({first_line(error)})"
    return None


def gpu_name() -> str:
    """What the GPU is called."""
    return torch.cuda.get_device_name()
