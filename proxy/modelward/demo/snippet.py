"""The lines to paste into a Python of one's own."""

from textwrap import fill

from modelward.demo.table import Row

_SNIPPET = """\
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient("{address}")
row = np.array([[
{values}
]], np.float32)
tensor = triton.InferInput("input", list(row.shape), "FP32")
tensor.set_data_from_numpy(row)
answer = client.infer("{model}", [tensor])
print(answer.as_numpy("label"), answer.as_numpy("probabilities"))
"""


def snippet(address: str, model: str, row: Row) -> str:
    """Python source for tritonclient (pip install "tritonclient[grpc]") that infers one row."""
    values = ", ".join(f"{value:.6g}" for value in row)
    return _SNIPPET.format(
        address=address, model=model, values=fill(values, 76, initial_indent="    ", subsequent_indent="    ")
    )
