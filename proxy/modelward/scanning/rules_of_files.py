"""Rules about bytes and files: what is hidden in a model, how it is written, what lies beside it."""

from modelward.scanning.rule import Rule

PAYLOADS = {
    "embedded-executable": Rule(
        "critical",
        "a program (ELF, PE, Mach-O, Java, WebAssembly, compiled Python) in a text, an attribute or a constant, also as"
        " base64 or hex",
        "a model has no use for it",
        "Find out who made the model, and do not serve it",
    ),
    "embedded-pickle": Rule(
        "critical",
        "a pickle that calls code in a text, an attribute or a constant, also as base64 or hex",
        "who reads it with pickle runs what it says",
        "Find out who made the model, and do not serve it",
    ),
    "embedded-script": Rule(
        "high",
        "a script (#!, PHP, a shell's download) in a text, an attribute or a constant, also as base64 or hex",
        "a model has no use for it",
        "Find out who made the model, and do not serve it",
    ),
    "embedded-archive": Rule(
        "high",
        "an archive (zip, gzip, bzip2, 7z, rar, xz) in a text, an attribute or a constant, also as base64 or hex",
        "it hides what is in it from every scan",
        "Export the model without it, and look into it",
    ),
    "embedded-code": Rule(
        "medium",
        "a text with Python code that starts programs or evaluates texts",
        "a model has no use for it",
        "Export the model without it",
    ),
    "embedded-address": Rule(
        "low",
        "a text with a URL",
        "a program that reads it may follow it",
        "Nothing, where it is a link to documentation",
    ),
    "embedded-large": Rule(
        "medium",
        "a text or attribute too large to be searched whole",
        "only its beginning and end were looked at",
        "Keep large data in constants or in files beside the model",
    ),
}

PROTOBUF = {
    "protobuf-damaged": Rule(
        "high",
        "bytes that are no protobuf message, such as a file that is cut off or goes on behind the model",
        "programs differ in what they make of it",
        "Copy or export the model again",
    ),
    "protobuf-unknown-field": Rule(
        "medium",
        "a field that ONNX does not have",
        "readers skip it: data can be hidden in it",
        "Update onnx, where the model was made with a newer release; otherwise export it again",
    ),
    "protobuf-repeated-field": Rule(
        "high",
        "a field twice that stands there once",
        "programs differ in which of the two counts: what is checked may not be what runs",
        "Export the model again",
    ),
    "protobuf-nesting": Rule(
        "high",
        "messages within messages, more than 64 deep",
        "readers walk them by recursion, and end",
        "Export the model again",
    ),
    "protobuf-oversized": Rule(
        "medium",
        "a file of more than 2 GiB",
        "protobuf bounds messages there, and it cannot be served",
        "Save the weights as external data, 2 GiB in all at most",
    ),
    "not-a-model": Rule(
        "medium",
        "a file named .onnx that holds no graph, such as a pointer of Git LFS",
        "it cannot be served",
        "Fetch or export the file itself",
    ),
    "scan-incomplete": Rule(
        "high",
        "a file with more fields, nodes, members or encoded texts than a scan looks at, or that the scan failed on",
        "what comes behind them was not looked at",
        "Export a smaller model; the command looks at more than a server does when it loads a version",
    ),
}

FILES = {
    "file-executable": Rule(
        "high",
        "a program or library beside the model",
        "a repository of models is no place for code, and some servers load it from there",
        "Remove it",
    ),
    "file-archive": Rule(
        "high",
        "an archive that the scan does not look into (tar, bzip2, xz, 7z, rar, Zstandard), or one in another",
        "it hides what is in it from every scan",
        "Unpack it, or keep it somewhere else",
    ),
    "file-sealed": Rule(
        "info",
        "a sealed file",
        "what is in it can only be scanned where it is opened: a server does so at the load",
        "Scan it before it is sealed too",
    ),
    "file-script": Rule(
        "medium",
        "a script beside the model",
        "a repository of models is no place for code, and some servers run it from there",
        "Move it somewhere else",
    ),
    "file-pickle": Rule(
        "high",
        "a pickle beside the model: .pkl, .joblib, .pt, or an archive with one",
        "who loads it runs what it says",
        "Export the model to ONNX, and remove the file",
    ),
    "file-pickle-dangerous": Rule(
        "critical",
        "a pickle that names functions which start programs or change files (needs the extra `scan`)",
        "who loads it runs them",
        "Find out who made it, and remove it",
    ),
    "file-link": Rule(
        "high",
        "a link that leaves the folder",
        "what it leads to can change after it was checked",
        "Copy the file into the folder",
    ),
    "file-hard-link": Rule(
        "low",
        "a file with further hard links",
        "it can be changed under another name after it was checked, and serve refuses it",
        "Make it a file of its own",
    ),
    "file-special": Rule(
        "high",
        "a device, pipe or socket",
        "who opens it may wait for ever",
        "Remove it",
    ),
    "file-name": Rule(
        "medium",
        "a file name with control characters, or with characters that change the order of a text",
        "it writes something else to a terminal or a log than it says",
        "Rename it",
    ),
    "file-unreadable": Rule(
        "medium",
        "a file or folder that cannot be read",
        "it was not looked at",
        "Check its permissions",
    ),
    "array-pickle": Rule(
        "critical",
        "an .npz or .npy with an array of Python objects",
        "numpy reads such arrays with pickle, which runs what they say",
        "Write it again with numbers or strings: allow_pickle=False",
    ),
    "array-bomb": Rule(
        "high",
        "an .npz that unpacks to a multiple of its size, beyond 1 GiB",
        "a small file takes all memory",
        "Write it again, or remove it",
    ),
    "array-member": Rule(
        "medium",
        "a member of an .npz that is no array, or whose name leads out of a folder",
        "who unpacks it writes somewhere else, or finds something else",
        "Write it again",
    ),
    "array-damaged": Rule(
        "medium",
        "an .npz or .npy that cannot be read",
        "it was not looked at",
        "Write it again",
    ),
}
