/* Class scores of an answer: one label and margin per row, rounded, or reduced to the top class, all where they lie.
 *
 * An output of probabilities or logits, of floating-point numbers. Its shape is [rows, classes] or [classes]; or, with one
 * number per row, [rows, 1] or [rows], which is then the score of class 1. Nothing is allocated; every row is bounded by the
 * message that holds it. */
#ifndef MODELWARD_CLASS_SCORES_H
#define MODELWARD_CLASS_SCORES_H

#include "answer_output.h"
#include "find_outputs.h"

typedef struct { /* as a version declares them */
    mw_declared_output output;
    uint8_t logits; /* any numbers, of which the largest is the label; of one number per row: class 1 above 0 */
    uint8_t batch;  /* the first dimension is the rows: a shape of one dimension is [rows], else [classes] */
} mw_declared_scores;

typedef struct {
    uint8_t *data; /* borrowed from the message */
    uint64_t rows;
    uint64_t columns; /* numbers of a row; 1: the score of class 1 */
    mw_dtype dtype;
    uint8_t logits;
} mw_class_scores;

typedef struct {
    int64_t label; /* -1: none, for a number of the row is NaN */
    double
        margin; /* 0 to 1: between the two best probabilities (of logits, after the softmax); of one score its distance
                      from the boundary, doubled */
} mw_row_label;

/* The class scores of a ModelInferResponse. */
mw_output_state mw_class_scores_find(uint8_t *message, size_t size, const mw_declared_scores *declared,
                                     mw_class_scores *scores);

/* The same of an output that was found with others. */
mw_output_state mw_class_scores_in(const mw_found_output *found, const mw_declared_scores *declared,
                                   mw_class_scores *scores);

/* Of a row below scores->rows. One pass; of logits one more. */
mw_row_label mw_class_scores_label(const mw_class_scores *scores, uint64_t row);

/* Every row to `digits` decimal digits, at most as many as its datatype holds (15 of FP64, 6 of FP32, 3 of FP16, 2 of
 * BF16; fewer of logits that are larger). Each number changes by at most two units of the last digit, the label of a row stays,
 * and so does the sum of a row of probabilities that add up to 1. Rows with a NaN or an infinite number stay as they are. */
void mw_class_scores_round(const mw_class_scores *scores, unsigned digits);

/* Every row says its label and no more: 1 for the top class and 0 for the others; of logits 1 and -1. Rows without a label
 * become NaN altogether. */
void mw_class_scores_top(const mw_class_scores *scores);

/* A row below scores->rows says this label and no more; below 0: none. */
void mw_class_scores_say(const mw_class_scores *scores, uint64_t row, int64_t label);

#endif
