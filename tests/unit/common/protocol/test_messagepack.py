"""Every message, with every field, against ``msgpack``, the format's reference: in both directions."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from framefleet.common.protocol import messages as m

# what is longer has another form in MessagePack than what is shorter
MOST_ITEMS = 16
LONGEST = 255


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """What a field of this type may hold, within its bounds."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: values(field.type) for field in fields})
        case inspect.UnionType(types=types):
            return st.one_of([values(each) for each in types])
        case inspect.LiteralType(values=allowed):
            return st.sampled_from(allowed)
        case inspect.TupleType(item_types=types):
            return st.tuples(*map(values, types))
        case inspect.ListType(item_type=item, min_length=least):
            return st.lists(values(item), min_size=least or 0, max_size=MOST_ITEMS)
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most)
        case inspect.StrType(min_length=least, pattern=None):
            return st.text(st.characters(codec="utf-8"), min_size=least or 0, max_size=LONGEST)
        case inspect.BytesType(min_length=least):
            return st.binary(min_size=least or 0, max_size=LONGEST)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
    raise NotImplementedError(f"a field of {kind}")


def without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_tuples(each) for name, each in value.items()}
    return [without_tuples(each) for each in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("kind", get_args(m.FromHost) + get_args(m.FromCoordinator))
@settings(max_examples=25)
@given(data=st.data())
def test_the_reference_reads_and_writes_each_message(kind: type[m.Message], data: st.DataObject) -> None:
    message = data.draw(values(inspect.type_info(kind)))
    plain = without_tuples(msgspec.to_builtins(message, builtin_types=(bytes,)))
    as_read = msgpack.unpackb(m.encode(message))
    assert as_read == plain
    assert as_read["type"] == kind.__name__
    assert set(as_read) == {"type", *kind.__struct_fields__}
    decode = m.decode_from_host if kind in get_args(m.FromHost) else m.decode_from_coordinator
    assert decode(msgpack.packb(plain)) == message
