"""The page of the admin API, from the comments in its protocol file."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from grpc_tools import protoc

from scripts.docs import ROOT, markdown

FILE = ROOT / "protos" / "admin.proto"
# numbers of fields in descriptor.proto, of which a comment's path is made
SERVICE, MESSAGE, METHOD, FIELD, SYNTAX = 6, 4, 2, 2, 12
INTRODUCTION = """
`modelward status`, `reload`, `restart`, `drain`, `promote`, `rollback`, `pardon`, `limit`, `breaker`, `whoami`,
`can-i`, `capture`, `drift`, `proposals`, `approve`, `reject`, `withdraw`, `review` and `shadow report` call this gRPC
API. It listens at [`listen.admin`](configuration.md#listen.admin). Generate a client from `protos/admin.proto`.
"""

Comments = dict[tuple[int, ...], str]


def page() -> str:
    file, comments = _parsed()
    service = file.service[0]
    blocks = [INTRODUCTION, comments.get((SYNTAX,), ""), "## Methods", f"Service `{file.package}.{service.name}`."]
    rows = []
    for i, method in enumerate(service.method):
        answer = f"{'stream of ' if method.server_streaming else ''}{_link(method.output_type)}"
        rows.append((f"`{method.name}`", _link(method.input_type), answer, comments.get((SERVICE, 0, METHOD, i), "")))
    blocks.append(markdown.table(("Method", "Request", "Response", "What it does"), rows))
    blocks.append("## Messages")
    for i, message in enumerate(file.message_type):
        blocks += [f"### {message.name}", comments.get((MESSAGE, i), "")]
        fields = list(_fields(message, comments, i))
        blocks.append(markdown.table(("Field", "Type", "Number", "Meaning"), fields) if fields else "No fields.")
    return markdown.page("Admin API", *blocks)


def _parsed() -> tuple[FileDescriptorProto, Comments]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set")
        flags = ["--include_source_info", f"-I{FILE.parent}", f"--descriptor_set_out={out}", str(FILE)]
        assert protoc.main(["protoc", *flags]) == 0
        (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    comments = {
        tuple(at.path): "\n".join([*at.leading_detached_comments, at.leading_comments, at.trailing_comments])
        for at in file.source_code_info.location
    }
    return file, {path: dedent(text).strip() for path, text in comments.items() if text}


def _fields(message: descriptor_pb2.DescriptorProto, comments: Comments, i: int) -> Iterator[tuple[str, ...]]:
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    for j, field in enumerate(message.field):
        kind = _type(field)
        if (entry := maps.get(field.type_name.rpartition(".")[2])) is not None:
            kind = f"map of {_type(entry.field[0])} to {_type(entry.field[1])}"
        elif field.label == FieldDescriptorProto.LABEL_REPEATED:
            kind = f"repeated {kind}"
        yield f"`{field.name}`", kind, str(field.number), comments.get((MESSAGE, i, FIELD, j), "")


def _type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"


def _link(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"[{name}](#{name.lower()})"
