"""Class scores of answers as Python functions, and what they cost: for tests."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.outputs.class_scores cimport (
    MW_FIND_OUTPUTS, MW_OUTPUT_FOUND, mw_class_scores, mw_class_scores_find, mw_class_scores_in, mw_class_scores_label,
    mw_class_scores_round, mw_class_scores_say, mw_class_scores_top, mw_declared_output, mw_declared_scores, mw_find_outputs,
    mw_found_output, mw_output_state)
from modelward_native.request.tensor cimport MW_INT64, mw_dtype_of, mw_span
from modelward_native.timer.clock cimport mw_now_ns

STATES = ("absent", "found", "unreadable")


cdef class ClassScores:
    """outputs/class_scores.h: the declared class scores of one encoded ModelInferResponse, a copy of it."""

    cdef bytearray message
    cdef bytes name
    cdef mw_declared_scores declared
    cdef mw_class_scores scores
    cdef readonly str state

    def __init__(self, bytes message not None, str name not None, str datatype not None, bint logits=False, bint batch=True):
        cdef bytes dtype = datatype.encode()
        cdef mw_span text
        self.message = bytearray(message)
        self.name = name.encode()
        text.data = <const uint8_t *><char *>dtype
        text.size = len(dtype)
        self.declared.output.name.data = <const uint8_t *><char *>self.name
        self.declared.output.name.size = len(self.name)
        self.declared.output.dtype = mw_dtype_of(text)
        self.declared.logits = logits
        self.declared.batch = batch
        self.state = STATES[<int>self.find()]

    cdef mw_output_state find(self):
        return mw_class_scores_find(
            <uint8_t *><char *>self.message, len(self.message), &self.declared, &self.scores)

    def found_beside(self, list names not None) -> bool:
        """Finds them again, in one walk with outputs of these names, INT64, which come first, as stages/watch does where the
        scores are guarded. False: the answer is no message."""
        cdef mw_declared_output[<int>MW_FIND_OUTPUTS] declared
        cdef mw_found_output[<int>MW_FIND_OUTPUTS] all_found
        cdef uint32_t i, count = <uint32_t>len(names)
        cdef bytes name
        assert count < <uint32_t>MW_FIND_OUTPUTS
        keep = [each.encode() for each in names]
        for i in range(count):
            name = keep[i]
            declared[i].name.data = <const uint8_t *><char *>name
            declared[i].name.size = len(name)
            declared[i].dtype = MW_INT64
        declared[count] = self.declared.output
        if not mw_find_outputs(<uint8_t *><char *>self.message, len(self.message), declared, count + 1, all_found, NULL):
            return False
        self.state = STATES[<int>mw_class_scores_in(&all_found[count], &self.declared, &self.scores)]
        return True

    def labels(self) -> list:
        """(label, margin) of every row; a label of -1 is none."""
        assert self.state == "found"
        found = [mw_class_scores_label(&self.scores, row) for row in range(self.scores.rows)]
        return [(each["label"], each["margin"]) for each in found]

    def round(self, unsigned digits) -> bytes:
        """The answer with its scores rounded."""
        assert self.state == "found"
        mw_class_scores_round(&self.scores, digits)
        return bytes(self.message)

    def top(self) -> bytes:
        """The answer with its scores reduced to the top class."""
        assert self.state == "found"
        mw_class_scores_top(&self.scores)
        return bytes(self.message)

    def say(self, uint64_t row, int64_t label) -> bytes:
        """The answer with a row that says this label."""
        assert self.state == "found" and row < self.scores.rows
        mw_class_scores_say(&self.scores, row, label)
        return bytes(self.message)

    def measure_find(self, int64_t rounds) -> float:
        """Nanoseconds to find the scores, and the label of the first row."""
        cdef int64_t start = mw_now_ns(), _round, total = 0
        for _round in range(rounds):
            if self.find() == MW_OUTPUT_FOUND:
                total += mw_class_scores_label(&self.scores, 0).label
        return (mw_now_ns() - start) / <double>rounds
