"""A seccomp filter that refuses some system calls, as a runtime puts one around a container."""

from __future__ import annotations

import ctypes
import struct

import linux

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
# linux/bpf_common.h, linux/seccomp.h
_LOAD, _EQUAL, _ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_ERRNO, _ALLOW = 0x00050000, 0x7FFF0000
_NUMBER, _ARGUMENTS = 0, 16
_COMPARISONS = {"any": _ANY, "equal": _EQUAL}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _step(code: int, value: int, otherwise: int = 0) -> bytes:
    """OTHERWISE: how many steps a comparison that fails goes over."""
    return struct.pack("=HBBI", code, 0, otherwise, value)


def _rule(number: int, code: int, *condition) -> bytes:
    refuse = _step(_RETURN, _ERRNO | code)
    if not condition:
        return _step(_EQUAL, number, 1) + refuse
    argument, comparison, value = condition
    steps = [
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(_COMPARISONS[comparison], value, 1),
        refuse,
        _step(_LOAD, _NUMBER),
    ]
    return _step(_EQUAL, number, len(steps)) + b"".join(steps)


def refuse(rules: list[list]) -> None:
    """For this process and what it executes. No new privileges, or CAP_SYS_ADMIN, are needed."""
    if not rules:
        return
    steps = _step(_LOAD, _NUMBER) + b"".join(_rule(*rule) for rule in rules)
    steps += _step(_RETURN, _ALLOW)
    program = _Program(len(steps) // 8, steps)
    linux.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program))
