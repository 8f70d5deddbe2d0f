#include <math.h>
#include <string.h>

#include "fingerprint.h"

/* How many of 60,000 honest rows shall have an earlier row in their piece, at each resolution; and by which power of the
 * number of rows that share grows. At resolution 0: of 1,024 rows in sequence, in place of one identity's. */
static const double HITS[MW_WATCH_RESOLUTIONS] = {.10, .70, .20, .05, .01};
static const double GROWTH[MW_WATCH_RESOLUTIONS] = {0, .25, .6, .85, 1};
enum { OF_ROWS = 60000, OWN_ROWS = 1024, HALVINGS = 16 };
static const double LEAST_EXPONENT = -8, MOST_EXPONENT = 8; /* of two: widths in radii of a cell */

static const float RADIUS_PRIOR_ROWS = 30.0f, LEAST_RADIUS = 1e-3f; /* of the radius of all cells together */

/* Whether this number was put in before. room: MW_WATCH_ROOM numbers, twice as many as are put in; 0 is free. */
static int seen_before(uint64_t *room, uint64_t number) {
    number += number == 0;
    uint64_t at = mw_watch_mix(number) % MW_WATCH_ROOM;
    while (room[at] && room[at] != number) at = (at + 1) % MW_WATCH_ROOM;
    if (room[at]) return 1;
    room[at] = number;
    return 0;
}

static uint32_t without_repeats(mw_watch_shared *m, uint32_t sampled, uint64_t *room) {
    uint32_t kept = 0;
    memset(room, 0, MW_WATCH_ROOM * sizeof *room);
    for (uint32_t i = 0; i < sampled; i++) {
        const mw_watch_sampled *row = &m->sample[i];
        if (!row->written || row->at >= MW_WATCH_CELLS || seen_before(room, row->row)) continue;
        if (kept != i) m->sample[kept] = *row;
        kept++;
    }
    return kept;
}

/* The rms distance of a cell's rows from their mean, in projections: in each of these as in space, but for chance. */
static void measure_radii(mw_watch_shared *m, uint32_t rows) {
    float spread[MW_WATCH_CELLS], of[MW_WATCH_CELLS], all = 0.0f, n = 0.0f;
    for (int c = 0; c < MW_WATCH_CELLS; c++) {
        double sum[MW_WATCH_PROJECTIONS] = {0}, squares = 0;
        uint32_t count = 0;
        for (uint32_t i = 0; i < rows; i++) {
            if (m->sample[i].at != (uint32_t)c) continue;
            for (int k = 0; k < MW_WATCH_PROJECTIONS; k++) {
                sum[k] += m->sample[i].v[k];
                squares += (double)m->sample[i].v[k] * m->sample[i].v[k];
            }
            count++;
        }
        for (int k = 0; k < MW_WATCH_PROJECTIONS && count; k++) squares -= sum[k] * sum[k] / count;
        spread[c] = squares > 0 ? (float)squares : 0.0f;
        of[c] = (float)count;
        all += spread[c];
        n += of[c];
    }
    const float mean = n > 0.0f && all > 0.0f ? all / n : 1.0f;
    for (int c = 0; c < MW_WATCH_CELLS; c++) {
        const float variance = (spread[c] + RADIUS_PRIOR_ROWS * mean) / (of[c] + RADIUS_PRIOR_ROWS);
        const float radius = sqrtf(variance / MW_WATCH_PROJECTIONS),
                    least = LEAST_RADIUS * sqrtf(mean / MW_WATCH_PROJECTIONS);
        m->inverse_radius[c] = 1.0f / (radius > least ? radius : least);
    }
}

/* The share of rows that have an earlier one in their piece. */
static double hits(const mw_watch *w, int r, uint32_t rows, float inverse_width, uint64_t *room) {
    const mw_watch_shared *m = w->shared;
    uint32_t found = 0;
    memset(room, 0, MW_WATCH_ROOM * sizeof *room);
    for (uint32_t i = 0; i < rows; i++) {
        const mw_watch_sampled *row = &m->sample[i];
        const uint64_t apart = r ? row->at : row->at + (uint64_t)(i / OWN_ROWS) * MW_WATCH_CELLS;
        const uint64_t piece = mw_watch_piece(w, r, row->v, inverse_width * m->inverse_radius[row->at]);
        found += (uint32_t)seen_before(room, mw_watch_mix(piece + apart * UINT64_C(0xd6e8feb86659fd93)));
    }
    return rows ? (double)found / rows : 0;
}

uint32_t mw_watch_measure(mw_watch *w, uint64_t room[MW_WATCH_ROOM]) {
    mw_watch_shared *m = w->shared;
    const uint32_t sampled = mw_field_get(m->sampled);
    const uint32_t rows = without_repeats(m, sampled < MW_WATCH_SAMPLE ? sampled : MW_WATCH_SAMPLE, room);
    measure_radii(m, rows);
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++) {
        const double wanted = HITS[r] * pow((double)(rows ? rows : 1) / OF_ROWS, GROWTH[r]);
        double narrow = LEAST_EXPONENT, wide = MOST_EXPONENT;
        for (int i = 0; i < HALVINGS; i++) {
            const double middle = (narrow + wide) / 2;
            if (hits(w, r, rows, (float)exp2(-middle), room) < wanted) narrow = middle;
            else wide = middle;
        }
        m->inverse_width[r] = (float)exp2(-(narrow + wide) / 2);
    }
    return rows;
}
