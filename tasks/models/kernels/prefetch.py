"""Memory prefetching for kernels.

Weights are read at random places of tables larger than any cache, so a learner waits for memory
unless it prefetches the next rows; measured, that is a sixth of an FTRL epoch.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 4  # rows of codes between prefetch and use; 2 to 12 measure the same
_FOR_WRITING, _KEEP_IN_ALL_CACHES, _DATA = 1, 3, 1


@intrinsic
def prefetch_row(typing: Any, table: Any, row: Any) -> Any:  # type: ignore[no-untyped-def]
    """Prefetch the cache line of ``table[row, 0]``; a hint, without any effect on results."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        place = [at] + [context.get_constant(types.intp, 0)] * (kind.ndim - 1)
        pointer = cgutils.get_item_pointer(context, builder, kind, array, place)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, call, "llvm.prefetch.p0")
        hints = [ir.Constant(number, value) for value in (_FOR_WRITING, _KEEP_IN_ALL_CACHES, _DATA)]
        builder.call(function, [builder.bitcast(pointer, byte), *hints])
        return context.get_dummy_value()

    return types.void(table, row), emit


@njit(cache=True, nogil=True, error_model="numpy")
def prefetch_ahead(codes, i, table):
    """Prefetch what the row ``AHEAD`` rows after row `i` needs of `table`, one entry per code."""
    coming = min(i + AHEAD, codes.shape[0] - 1)
    for j in range(codes.shape[1]):
        code = codes[coming, j]
        prefetch_row(table, np.uint32(code ^ (code >> 31)))  # type: ignore[call-arg]
