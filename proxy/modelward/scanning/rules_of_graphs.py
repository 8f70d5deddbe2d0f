"""Rules about what a model says and does: operators, constants, the graph."""

from modelward.scanning.rule import Rule

OPERATORS = {
    "operator-python": Rule(
        "critical",
        "an operator that runs Python code",
        "who made the model chooses the code",
        "Export the model without it",
    ),
    "operator-foreign": Rule(
        "high",
        "an operator outside of ai.onnx, ai.onnx.ml and com.microsoft that the model does not define itself",
        "it is code from outside, which somebody would have to load into the server",
        "Export with standard operators, or with the operator as a function of the model",
    ),
    "operator-opens-files": Rule(
        "high",
        "an operator that makes the runtime open further files",
        "those files are neither hashed nor checked",
        "Export the model without it",
    ),
    "operator-unknown": Rule(
        "medium",
        "an operator that its standard domain does not have",
        "the runtime cannot run it, or something else was loaded that can",
        "Export the model again with a release of ONNX that has it",
    ),
    "operator-contrib": Rule(
        "low",
        "an operator of com.microsoft, ONNX Runtime's own domain",
        "its meaning may change with the runtime's release, and other runtimes lack it",
        "Nothing, where the model was optimized for ONNX Runtime",
    ),
    "function-shadows-operator": Rule(
        "high",
        "a function of the model that takes the place of a standard operator",
        "the graph then does something else than it seems to do",
        "Rename the function's domain, or remove it",
    ),
    "function-endless": Rule(
        "high",
        "functions that call themselves, or that expand to more than a million nodes",
        "the runtime expands functions when it opens the model, and never ends",
        "Export the model without them",
    ),
    "function-unused": Rule(
        "low",
        "a function that nothing calls",
        "it does nothing, and may hide what somebody wants to use later",
        "Remove it",
    ),
    "opset-missing": Rule(
        "medium",
        "an operator set that is used and not imported, or no import at all",
        "which version of an operator is meant is then up to the runtime",
        "Export the model again",
    ),
    "opset-version": Rule(
        "medium",
        "an operator set or IR version that is older or newer than what is supported",
        "the runtime refuses it, or guesses",
        "Export it for a version that is supported",
    ),
    "opset-twice": Rule(
        "high",
        "two imports of one domain",
        "programs differ in which of them counts, and so in what the model does",
        "Export the model again",
    ),
    "opset-unused": Rule(
        "info",
        "an import of a foreign domain that nothing uses",
        "exporters write such imports, and nothing comes of them",
        "Nothing",
    ),
    "training-graph": Rule(
        "low",
        "graphs for training",
        "serving needs none, and nothing else looks at what is in them",
        "Export the model for inference",
    ),
}

DATA = {
    "external-leaves-folder": Rule(
        "critical",
        "external data outside of the model's folder: an absolute path, `..`, a drive, a URL",
        "the model would read any file that the server may read, and can answer with it",
        "Save the model with its data in one file, or in a file beside it",
    ),
    "external-link": Rule(
        "high",
        "external data behind a link that leaves the folder, or that is no regular file",
        "the link may be turned to another file after it was checked",
        "Copy the file into the folder",
    ),
    "external-missing": Rule(
        "high",
        "external data that is not there",
        "a file that somebody puts there later becomes a part of the model",
        "Copy the model together with its data",
    ),
    "external-range": Rule(
        "high",
        "external data beyond the end of its file, or with an offset or length that is none",
        "a runtime that does not check it reads other memory",
        "Copy the model together with its data again",
    ),
    "external-length": Rule(
        "medium",
        "external data that is longer or shorter than its tensor, or described by unknown keys",
        "the tensor is not what it says",
        "Export the model again",
    ),
    "tensor-dimensions": Rule(
        "high",
        "a negative dimension of a constant, or dimensions whose product no runtime can count",
        "the product overflows, and a runtime that does not check it writes to other memory",
        "Export the model again",
    ),
    "tensor-length": Rule(
        "high",
        "a constant with more or less data than its dimensions say",
        "a runtime that does not check it reads other memory",
        "Export the model again",
    ),
    "tensor-ambiguous": Rule(
        "medium",
        "a constant with data in several fields, or of a datatype that ONNX does not have",
        "programs differ in which of them counts",
        "Export the model again",
    ),
    "size-constant": Rule(
        "high",
        "an operator that makes 1 GiB or more of constants alone",
        "a file of a few bytes takes all memory when it is opened",
        "Export the model without it",
    ),
    "shape-declared": Rule(
        "medium",
        "an input or output whose declared shape has negative or uncountable dimensions",
        "sizes that are computed from it overflow",
        "Export the model again",
    ),
}

GRAPH = {
    "loop-endless": Rule(
        "high",
        "a loop that does not end: its condition stays true, and its number of trips is missing or over a billion",
        "one request, or opening the model, takes a core for ever",
        "Give the loop a number of trips, or a condition that becomes false",
    ),
    "loop-long": Rule(
        "medium",
        "a loop with more than a million trips, alone or with the loops around it, that no condition ends",
        "one request takes seconds or more",
        "Give the loop fewer trips",
    ),
    "loop-unbounded": Rule(
        "medium",
        "a loop whose condition stays true, and whose number of trips is computed and could not be bounded",
        "it may be a number that one request never comes to the end of",
        "Give the loop a constant number of trips, or one that is an input's size",
    ),
    "loop-open": Rule(
        "low",
        "a loop whose trips depend on the inputs: on an input itself, on the size of one, or by its condition",
        "a client chooses how long a run takes",
        "Set a deadline for the model, and a limit of backend time",
    ),
    "branch-dead": Rule(
        "low",
        "an If whose condition is a constant",
        "one of its branches never runs, and may hide what it is for",
        "Export the branch that runs",
    ),
    "nesting-deep": Rule(
        "medium",
        "graphs within graphs, more than 8 deep",
        "no exporter makes them, and runtimes walk them by recursion",
        "Export the model without them",
    ),
    "output-constant": Rule(
        "medium",
        "an output that depends on no input",
        "it answers the same whatever it is asked, and may carry data out that nobody asked for",
        "Remove the output, or look at what it holds",
    ),
    "output-missing": Rule(
        "high",
        "an output that nothing makes",
        "programs differ in what they answer then",
        "Export the model again",
    ),
    "input-unused": Rule(
        "low",
        "an input that no output depends on",
        "clients send it for nothing, and may believe that it counts",
        "Remove it",
    ),
    "node-dead": Rule(
        "low",
        "nodes whose results reach no output",
        "they do nothing, and may hide what somebody wants to use later",
        "Export the model again, with dead code removed",
    ),
    "data-unused": Rule(
        "medium",
        "64 KiB or more of constants that nothing uses",
        "data can be hidden in them",
        "Export the model again, with unused initializers removed",
    ),
    "name-twice": Rule(
        "high",
        "one name for two values, nodes' results or functions",
        "programs differ in which of them is meant",
        "Export the model again",
    ),
    "name-undefined": Rule(
        "medium",
        "a node that reads what nothing makes, or what is made only later",
        "the graph is no valid graph, and programs differ in what they make of it",
        "Export the model again",
    ),
    "name-shadowed": Rule(
        "low",
        "an inner graph that gives a name of an outer graph to another value",
        "a reader takes the one for the other",
        "Export the model again",
    ),
    "name-unprintable": Rule(
        "medium",
        "a name with control characters, or with characters that change the order of a text",
        "it writes something else to a terminal or a log than it says",
        "Rename it",
    ),
    "name-path": Rule(
        "medium",
        "a name that leads out of a folder",
        "tools that make file names of names write somewhere else",
        "Rename it",
    ),
    "name-long": Rule(
        "low",
        "a name of more than 1,024 bytes",
        "data can be hidden in it",
        "Rename it",
    ),
}
