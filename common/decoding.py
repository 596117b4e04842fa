"""What decoding raises on bytes that are not what they should be, as hosts and power cuts may leave them."""

from __future__ import annotations

from typing import Final

import msgspec

# brackets in brackets, thousands deep, end the decoder's recursion also in members that are not looked at
NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
