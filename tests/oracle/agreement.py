"""One message, two readers: the compiled scanner held against protobuf. Shared by the tests and the long campaign."""

from modelward_native.testing import scan
from tests.oracle import oip


def assert_agrees(message: bytes) -> bool:
    """Holds everything the scanner says of a message against protobuf. Returns whether the message is a request.
    AssertionError: they differ."""
    request = oip.parse(message)
    fits = request is not None and oip.fits(request)
    try:
        seen = scan.scan(message)
    except ValueError as refusal:
        assert not fits, refusal
        return False
    assert fits, "taken, though protobuf or the size of the tables refuses it"
    assert seen == oip.scan(request)
    envelope = scan.envelope(message)
    assert envelope == {key: seen[key] for key in envelope}
    assert scan.model_name(message) == request.model_name
    for index, tensor in enumerate(request.inputs):
        for datatype in oip.TYPED:
            assert contents(message, index, datatype) == oip.contents(tensor, datatype)
    return True


def contents(message: bytes, index: int, datatype: str) -> bytes | None:
    try:
        return scan.contents(message, index, datatype)
    except ValueError as error:
        assert str(error) == "a value does not fit the datatype"
        return None
