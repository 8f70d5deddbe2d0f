/* Latency histogram: log-linear on decimal edges, fixed memory, header only.
 *
 * After Hartmann and Schlossnagle, "Circllhist - The log-linear histograms for efficient computation of percentiles"
 * (arXiv 2001.06561), with 30 cells per decade in place of 90: steps of 0.1 from 1 to 2, of 0.25 to 4, of 0.5 to 10
 * times the decade. HdrHistogram's and OpenTelemetry's powers of two would be as cheap and as exact, but 1, 2.5, 5
 * and 10 are edges here, so a bucket le="0.05" counts exactly what took at most 50 ms.
 *
 * A cell holds low < value <= high, as Prometheus' `le` does. Values are whole units; cells cover (1e3, 1e11] units:
 * 1 us to 100 s where the unit is 1 ns. A cell is never wider than 12.5 % of its lower edge. One writer; a reader on
 * another thread sees each counter whole, though perhaps not yet the sum of the latest record. */
#ifndef MODELWARD_HISTOGRAM_H
#define MODELWARD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_CELLS_PER_DECADE = 30,
    MW_DECADES = 8,
    MW_CELL_BELOW = 0,                                    /* value <= 1e3 */
    MW_CELL_ABOVE = 1 + MW_CELLS_PER_DECADE * MW_DECADES, /* value > 1e11 */
    MW_CELLS,
};

/* 1944 bytes. Zeroed memory is an empty histogram. */
typedef struct {
    uint64_t sum; /* of the values as recorded, in units; 584 years of nanoseconds before it wraps */
    uint64_t cell[MW_CELLS];
} mw_histogram;

/* Step of the finest ruling that all cell edges of a decade lie on: a twentieth of its start. */
static const uint64_t mw_histogram_ruling[MW_DECADES] = {50, 500, 5000, 50000, 500000, 5000000, 50000000, 500000000};

/* The cell of a value. No division, no floating point: the decade from the bit length and one comparison, the place in
 * it by a multiplication with the rounded-up reciprocal of half a ruling. That is exact: it errs by less than half a
 * ruling x half a value / 2^64, at most 2.5e8 x 5e10 / 1.8e19 < 1, of the gap to the next whole quotient. */
static inline unsigned mw_histogram_cell(uint64_t value) {
    static const uint64_t reciprocal[MW_DECADES] = {
        UINT64_MAX / 25 + 1,     UINT64_MAX / 250 + 1,     UINT64_MAX / 2500 + 1,     UINT64_MAX / 25000 + 1,
        UINT64_MAX / 250000 + 1, UINT64_MAX / 2500000 + 1, UINT64_MAX / 25000000 + 1, UINT64_MAX / 250000000 + 1};
    static const uint64_t power[MW_DECADES + 1] = {
        /* of ten, from 1e3 */
        1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, UINT64_C(10000000000), UINT64_C(100000000000)};
    /* cell within the decade, by 20ths of its start counted from the start: 180 of them */
    static const uint8_t place[180] = {
#define P2(c) c, c
#define P5(c) c, c, c, c, c
#define P10(c) c, c, c, c, c, c, c, c, c, c
        P2(0),   P2(1),   P2(2),   P2(3),   P2(4),   P2(5),   P2(6),   P2(7),   P2(8),   P2(9),   P5(10),
        P5(11),  P5(12),  P5(13),  P5(14),  P5(15),  P5(16),  P5(17),  P10(18), P10(19), P10(20), P10(21),
        P10(22), P10(23), P10(24), P10(25), P10(26), P10(27), P10(28), P10(29)
#undef P2
#undef P5
#undef P10
    };
    if (value <= 1000) return MW_CELL_BELOW;
    if (value > UINT64_C(100000000000)) return MW_CELL_ABOVE;
    uint64_t v = value - 1; /* cells are closed above: the value on an edge belongs below it */
    unsigned bits = 63u - (unsigned)__builtin_clzll(v);
    unsigned below = ((bits * 1233) >> 12) - 2; /* floor(log10(2^bits)) - 2, 1233 / 4096 ~ log10(2): 0 to 8 */
    unsigned decade = below - (v < power[below]);
    unsigned twentieth = (unsigned)(((unsigned __int128)(v >> 1) * reciprocal[decade]) >> 64);
    return 1 + decade * MW_CELLS_PER_DECADE + place[twentieth - 20];
}

/* Cost: under 5 ns on values spread over all decades. */
static inline void mw_histogram_record(mw_histogram *h, uint64_t value) {
    h->cell[mw_histogram_cell(value)]++;
    h->sum += value;
}

/* A span of time; one that a stepped clock made negative counts as 0. */
static inline void mw_histogram_record_ns(mw_histogram *h, int64_t ns) {
    mw_histogram_record(h, ns > 0 ? (uint64_t)ns : 0);
}

/* Scores are kept in millionths, so cells cover (0.001, 1e5]. Infinite and NaN scores count above every bound, and
 * anything above 1e6 adds only 1e6 to the sum, so that one infinity does not end it. */
#define MW_SCORE_UNIT 1e6

static inline void mw_histogram_record_score(mw_histogram *h, double score) {
    uint64_t value = score <= 1e6 ? (score > 0 ? (uint64_t)(score * MW_SCORE_UNIT + 0.5) : 0) : UINT64_C(1000000000000);
    mw_histogram_record(h, value);
}

/* Upper edge of a cell, in units; UINT64_MAX for the last. Its lower edge is the upper edge of the cell before. */
static inline uint64_t mw_histogram_edge(unsigned cell) {
    if (cell == MW_CELL_BELOW) return 1000;
    if (cell >= MW_CELL_ABOVE) return UINT64_MAX;
    unsigned decade = (cell - 1) / MW_CELLS_PER_DECADE, place = (cell - 1) % MW_CELLS_PER_DECADE;
    unsigned twentieths = place < 10 ? 22 + 2 * place : place < 18 ? 45 + 5 * (place - 10) : 90 + 10 * (place - 18);
    return mw_histogram_ruling[decade] * twentieths;
}

static inline uint64_t mw_histogram_count(const mw_histogram *h) {
    uint64_t count = 0;
    for (unsigned c = 0; c < MW_CELLS; c++) count += h->cell[c];
    return count;
}

/* Bounds whose Prometheus buckets are exact, 1 us to 100 s in nanoseconds; as a score: 0.001 to 1e5. */
#define MW_HISTOGRAM_BOUNDS 25
static const uint64_t mw_histogram_bounds[MW_HISTOGRAM_BOUNDS] = {1000,
                                                                  2500,
                                                                  5000,
                                                                  10000,
                                                                  25000,
                                                                  50000,
                                                                  100000,
                                                                  250000,
                                                                  500000,
                                                                  1000000,
                                                                  2500000,
                                                                  5000000,
                                                                  10000000,
                                                                  25000000,
                                                                  50000000,
                                                                  100000000,
                                                                  250000000,
                                                                  500000000,
                                                                  1000000000,
                                                                  UINT64_C(2500000000),
                                                                  UINT64_C(5000000000),
                                                                  UINT64_C(10000000000),
                                                                  UINT64_C(25000000000),
                                                                  UINT64_C(50000000000),
                                                                  UINT64_C(100000000000)};

/* Cumulative Prometheus buckets: cumulative[i] = records of at most bounds[i] units. The bucket le="+Inf" is
 * mw_histogram_count. Bounds must strictly ascend and each be a cell edge, since a bound within a cell could not be
 * counted exactly: returns -1, or the index of the first bound that is not so, and then nothing is written from
 * there on. */
static inline int mw_histogram_fold(const mw_histogram *h, const uint64_t *bounds, int count, uint64_t *cumulative) {
    uint64_t total = 0;
    unsigned next = 0;
    for (int i = 0; i < count; i++) {
        unsigned cell = mw_histogram_cell(bounds[i]);
        if (mw_histogram_edge(cell) != bounds[i] || cell < next) return i;
        while (next <= cell) total += h->cell[next++];
        cumulative[i] = total;
    }
    return -1;
}

/* An upper bound of the q-quantile (0 <= q <= 1), at most 12.5 % above it within the covered range, in units; 0 when
 * empty, UINT64_MAX when it lies above the range. */
static inline uint64_t mw_histogram_quantile(const mw_histogram *h, double q) {
    uint64_t count = mw_histogram_count(h), seen = 0;
    double rank = q * (double)count;
    if (count == 0) return 0;
    for (unsigned c = 0; c < MW_CELLS; c++) {
        seen += h->cell[c];
        if (seen > 0 && (double)seen >= rank) return mw_histogram_edge(c);
    }
    return UINT64_MAX;
}

#endif
