"""Runs Pods as a kubelet would, without a cluster. See runner.py; command line: run.py."""

from .client import SandboxError
from .images import Image, ImageError, Images
from .model import ApiInfo, SpecError, shift_deadlines
from .result import ContainerResult, Event, ExecResult, PodResult, VolumeUsage
from .runner import DEADLINE_MESSAGE, PodRunner

__all__ = [
    "ApiInfo",
    "ContainerResult",
    "DEADLINE_MESSAGE",
    "Event",
    "ExecResult",
    "Image",
    "ImageError",
    "Images",
    "PodResult",
    "PodRunner",
    "SandboxError",
    "SpecError",
    "VolumeUsage",
    "shift_deadlines",
]
