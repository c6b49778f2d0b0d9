"""Triton in its interpreter, which needs no GPU. The package of the adapters has chosen it before this import."""

import triton
import triton.language

__all__ = ["triton"]
