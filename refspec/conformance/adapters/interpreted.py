"""Triton in its interpreter, which needs no GPU. It has to be chosen before Triton is imported for the first time."""

import os

os.environ["TRITON_INTERPRET"] = "1"

import triton
import triton.language

__all__ = ["triton"]
