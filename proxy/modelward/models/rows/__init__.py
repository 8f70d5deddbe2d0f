"""Whether rows of different requests may share a run: found in the graph, since values may hide what joins them.

Every tensor is followed from the inputs on: which of its axes counts the rows. An operator is known to keep rows apart,
or it is the answer's reason: one that works along that axis, uses how many rows there are, or is not known here.
"""
