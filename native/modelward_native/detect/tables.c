#include <math.h>
#include <string.h>

#include "fingerprint.h"

/* Shares that are tolerated whatever was learnt, and what is bet on each category; index 0: nothing unusual. The bets of a
 * signal sum to 1, so that its e-value has a mean of at most 1 for all who keep to the tolerated shares. */
static const double NEAR_FLOOR[MW_WATCH_RESOLUTIONS][MW_WATCH_NEAR] = {
    {1, .30, .15, .08, .05, 1, 1, 1, 1},
    {1, .5, .4, .3, .25, .3, .2, .12, .08},
    {1, .25, .12, .06, .03, .12, .06, .03, .02},
    {1, .12, .05, .02, .01, .08, .04, .015, .008},
    {1, .08, .03, .01, .004, .06, .02, .008, .003},
};
static const double NEAR_BET[2][MW_WATCH_NEAR] = {
    {.10, .06, .06, .08, .16, .12, .12, .14, .16},
    {.5, .06, .06, .06, .06, .06, .07, .07, .06},
};
static const double NEAR_PRIOR[MW_WATCH_NEAR] = {.9, .05, .02, .01, .005, .01, .003, .001, .001};
static const double FLIP_PRIOR[MW_WATCH_FLIPS] = {.97, .015, .01, .004, .001};
static const double P_NOMINAL[MW_WATCH_P_BINS] = {.3, .2, .15, .15, .1, .05, .03, .01, .005, .004, .0009, .0001};

/* (c): weights of surprise, margin level and flip, of which a category's are the product. */
static const double WALK_FLOOR[12] = {1, .30, .12, .06, .04, 1, .40, .15, .07, .04, 1, .15};
static const double WALK_BET[2][12] = {
    {.06, .08, .16, .25, .45, .08, .10, .17, .25, .40, .65, .35},
    {.25, .2, .2, .2, .15, .3, .2, .2, .15, .15, .7, .3},
};
static const double WALK_EMPTY[2] = {.06, .4}, WALK_PRIOR_EMPTY = .65, WALK_FLOOR_FACTOR = 1.5, WALK_FLOOR_LEAST = .01;

/* A row near others is of surprise k where fewer rows than this have one that near, and near so many. */
static const double SURPRISE[4] = {.2, .05, .015, .004};
static const double HOT_FLIPS = .01;

/* One tenant may have so many times the share that all have; all traffic of a cell, less. */
static const double NEAR_TOLERANCE = 3, WALK_TOLERANCE = 6, REGION_TOLERANCE = 2;
static const double REGION_FLOOR = .5, REGION_FLOOR_LEAST = .003;

static const double SURGE_TOLERANCE = 4, SURGE_BET = .5, SURGE_FLOOR = 1.0 / 256;

static const double PLACE_PRIOR_ROWS = 15, CELL_PRIOR_ROWS = 50, GROUP_PRIOR_ROWS = 200;
static const double S_MOST = 12, S_MOST_IMPLAUSIBLE = 8; /* values that are not plausible are often an honest mistake */

static double product(const double of[12], int j) { return of[j / 10] * of[5 + j / 2 % 5] * of[10 + j % 2]; }

static double walk_floor(int j) {
    const double floor = WALK_FLOOR_FACTOR * product(WALK_FLOOR, j);
    return j == 0 || floor > 1 ? 1 : floor > WALK_FLOOR_LEAST ? floor : WALK_FLOOR_LEAST;
}

/* Shares with so much for index 0, and the rest by `weight`. */
static void spread(double empty, double (*weight)(int, const double *), const double *of, double out[MW_WATCH_WALK]) {
    double rest = 0;
    for (int j = 1; j < MW_WATCH_WALK; j++) rest += weight(j, of);
    out[0] = empty;
    for (int j = 1; j < MW_WATCH_WALK; j++) out[j] = weight(j, of) * (1 - empty) / rest;
}

static double by_product(int j, const double *of) { return product(of, j); }
static double by_floor(int j, const double *of) {
    (void)of;
    return walk_floor(j);
}

static int8_t sixteenths(double e) {
    const double value = floor(16 * log(e));
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

static double e_value(double bet, double share, double floor, double tolerance, int j) {
    const double bound = tolerance * share > floor ? tolerance * share : floor;
    return j == 0 ? bet : bet / (bound < 1 ? bound : 1);
}

/* A cell's counts with what it borrows from its group, and that from the prior; then as shares. count: [cells][n]. */
static void shrink(const uint32_t *count, int n, const uint8_t *group, const double *prior, int cell, double *share) {
    double of_group[MW_WATCH_WALK] = {0}, all = 0, sum = 0;
    for (int c = 0; c < MW_WATCH_CELLS; c++) {
        if (group[c] != group[cell]) continue;
        for (int j = 0; j < n; j++) of_group[j] += count[c * n + j];
    }
    for (int j = 0; j < n; j++) all += of_group[j];
    for (int j = 0; j < n; j++) {
        share[j] = count[cell * n + j] +
                   CELL_PRIOR_ROWS * (of_group[j] + GROUP_PRIOR_ROWS * prior[j]) / (all + GROUP_PRIOR_ROWS);
        sum += share[j];
    }
    for (int j = 0; j < n; j++) share[j] /= sum;
}

/* The mean of -ln U over each bin, U uniform between the shares of rows whose p-value is smaller, and as small. */
static double part(double x) { return x > 0 ? x * log(x) - x : 0; }

static uint8_t to_sixteenths(double nats) { return (uint8_t)(16 * nats + 0.5); }

static void make_s(const double share[MW_WATCH_P_BINS], uint8_t s[MW_WATCH_P_BINS]) {
    double below = 1;
    for (int b = 0; b < MW_WATCH_P_BINS; b++) {
        const double above = b + 1 < MW_WATCH_P_BINS && below > share[b] ? below - share[b] : 0;
        const double width = below - above > 1e-12 ? below - above : 1e-12;
        const double mean = -(part(below) - part(above)) / width;
        s[b] = to_sixteenths(mean < S_MOST ? mean : S_MOST);
        below = above > 1e-9 ? above : 1e-9;
    }
}

/* A place's shares are drawn towards those of its cell. */
static void make_place(const uint16_t count[MW_WATCH_P_BINS], const double of_cell[MW_WATCH_P_BINS],
                       uint8_t s[MW_WATCH_P_BINS]) {
    double share[MW_WATCH_P_BINS], rows = PLACE_PRIOR_ROWS;
    for (int b = 0; b < MW_WATCH_P_BINS; b++) rows += count[b];
    for (int b = 0; b < MW_WATCH_P_BINS; b++) share[b] = (count[b] + PLACE_PRIOR_ROWS * of_cell[b]) / rows;
    make_s(share, s);
}

static void make_near(const double share[MW_WATCH_NEAR], int r, mw_watch_cell_table *to) {
    for (int j = 0; j < MW_WATCH_NEAR; j++) {
        const double floor = NEAR_FLOOR[r][j], halved = floor < 1 ? floor * REGION_FLOOR : 1;
        for (int k = 0; k < 2; k++)
            to->near[r][j][k] = sixteenths(e_value(NEAR_BET[k][j], share[j], floor, NEAR_TOLERANCE, j));
        to->near[r][j][2] = sixteenths(e_value(NEAR_BET[0][j], share[j], halved, REGION_TOLERANCE, j));
        to->surprise[r][j] = 0;
        if (j == 0) continue;
        double as_crowded = 0;
        for (int i = j; i < MW_WATCH_NEAR; i++) as_crowded += i < 5 || i >= (j < 5 ? j + 4 : j) ? share[i] : 0;
        for (int k = 0; k < 4; k++)
            to->surprise[r][j] = (uint8_t)(as_crowded < SURPRISE[k] ? k + 1 : to->surprise[r][j]);
    }
}

static void make_walk(const double share[MW_WATCH_WALK], const double bet[2][MW_WATCH_WALK], mw_watch_cell_table *to) {
    for (int j = 0; j < MW_WATCH_WALK; j++) {
        const double floor = walk_floor(j), halved = floor * REGION_FLOOR;
        const double of_region = halved > REGION_FLOOR_LEAST ? halved : REGION_FLOOR_LEAST;
        for (int k = 0; k < 2; k++) {
            to->walk[j][k] = sixteenths(e_value(bet[k][j], share[j], floor, WALK_TOLERANCE, j));
            to->walk[j][2 + k] = sixteenths(e_value(bet[k][j], share[j], of_region, REGION_TOLERANCE, j));
        }
    }
}

/* Rows of no cell have no p-value: what counts is how many there are. */
static void make_implausible(const mw_watch_counts *c, uint8_t to[MW_WATCH_P_BINS]) {
    double all = GROUP_PRIOR_ROWS, these = GROUP_PRIOR_ROWS * P_NOMINAL[MW_WATCH_P_BINS - 1];
    for (int cell = 0; cell <= MW_WATCH_CELLS; cell++)
        for (int b = 0; b < MW_WATCH_P_BINS; b++) {
            all += c->p[cell][b];
            these += cell == MW_WATCH_CELLS ? c->p[cell][b] : 0;
        }
    const double s = 1 - log(these / all);
    for (int b = 0; b < MW_WATCH_P_BINS; b++) to[b] = to_sixteenths(s < S_MOST_IMPLAUSIBLE ? s : S_MOST_IMPLAUSIBLE);
}

/* How likely it is at most that a row of a young identity lies in a cell, and what is bet on that. */
static void make_surge(const mw_watch_counts *c, mw_watch_tables *to) {
    double rows[MW_WATCH_CELLS], all = 1;
    for (int cell = 0; cell < MW_WATCH_CELLS; cell++) {
        rows[cell] = 0;
        for (int b = 0; b < MW_WATCH_P_BINS; b++) rows[cell] += c->p[cell][b];
        all += rows[cell];
    }
    for (int cell = 0; cell < MW_WATCH_CELLS; cell++) {
        const double share = rows[cell] / all > SURGE_FLOOR ? rows[cell] / all : SURGE_FLOOR;
        const double tolerated = SURGE_TOLERANCE * share;
        if (tolerated >= SURGE_BET) continue; /* most rows lie here anyway */
        to->surge[cell][0] = (float)log((1 - SURGE_BET) / (1 - tolerated));
        to->surge[cell][1] = (float)log(SURGE_BET / tolerated);
    }
}

void mw_watch_make_tables(const mw_watch_counts *c, const uint8_t *group, mw_watch_tables *to) {
    double bet[2][MW_WATCH_WALK], prior[MW_WATCH_WALK], share[MW_WATCH_WALK];
    for (int k = 0; k < 2; k++) spread(WALK_EMPTY[k], by_product, WALK_BET[k], bet[k]);
    spread(WALK_PRIOR_EMPTY, by_floor, NULL, prior);
    memset(to, 0, sizeof *to);
    for (int cell = 0; cell < MW_WATCH_CELLS; cell++) {
        mw_watch_cell_table *t = &to->cell[cell];
        shrink(&c->p[0][0], MW_WATCH_P_BINS, group, P_NOMINAL, cell, share);
        for (int i = cell * MW_WATCH_OF_CELL; i < (cell + 1) * MW_WATCH_OF_CELL; i++)
            make_place(c->p_of_place[i], share, to->s[i]);
        for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++) {
            shrink(&c->near[r][0][0], MW_WATCH_NEAR, group, NEAR_PRIOR, cell, share);
            make_near(share, r, t);
        }
        shrink(&c->walk[0][0], MW_WATCH_WALK, group, prior, cell, share);
        make_walk(share, bet, t);
    }
    make_implausible(c, to->s[MW_WATCH_PLACES]);
    make_surge(c, to);
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++)
        for (int g = 0; g < MW_WATCH_GROUPS; g++) {
            double all = GROUP_PRIOR_ROWS, tail = 0;
            for (int u = 0; u < MW_WATCH_FLIPS; u++) all += c->flips[r][g][u];
            to->flip_hot[r][g] = MW_WATCH_FLIPS;
            for (int u = MW_WATCH_FLIPS - 1; u > 0 && r > 0; u--) {
                tail += c->flips[r][g][u] + GROUP_PRIOR_ROWS * FLIP_PRIOR[u];
                if (tail < HOT_FLIPS * all) to->flip_hot[r][g] = (uint8_t)u;
            }
        }
}
