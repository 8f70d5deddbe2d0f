/* libFuzzer harness of the HTTP/2 client towards upstreams (modelward_native/backend/client.h); README.md says how to run it.
 *
 * An input is a script of what the owner does and of what the upstream sends, in pieces. Beyond memory errors it checks what
 * owners rely on: each stream is closed exactly once, nothing is told of it afterwards, no window is overrun either way, and
 * what is written are whole frames whose header blocks libnghttp2 decodes to the request that was made. */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "hpack.h"

#define REQUIRE(condition)                  \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

enum { STREAMS = 64, WINDOW = 100000, CONNECTION_WINDOW = 200000, PATHS = 2 };
static const char *PATH[PATHS] = {"/inference.GRPCInferenceService/ModelInfer", "/other.Service/Method"};

typedef struct {
    mw_client_stream stream;
    bool live, answered;
    size_t left, unread;
} request;

static mw_client *client;
static request requests[STREAMS];
static uint8_t *written;
static size_t written_size;
static bool met;

static request *of(mw_client_stream *s) {
    request *r = s->owner;
    REQUIRE(&r->stream == s && r->live);
    return r;
}

static ssize_t body(mw_client_stream *s, uint8_t *to, size_t room, int *end) {
    request *r = of(s);
    if (r->left % 7 == 3) {
        r->left--;
        return MW_CLIENT_DEFERRED;
    }
    size_t n = r->left < room ? r->left : room;
    memset(to, 'b', n);
    r->left -= n;
    *end = r->left == 0;
    return (ssize_t)n;
}

static int field(mw_client_stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) {
    request *r = of(s);
    uint8_t *copy = malloc(name_size + value_size);
    memcpy(copy, name, name_size);
    if (value_size) memcpy(copy + name_size, value, value_size);
    free(copy);
    REQUIRE(name_size && name[0] != ':');
    return r->left % 11 == 5 ? -1 : 0;
}

static void data(mw_client_stream *s, const uint8_t *bytes, size_t size) {
    request *r = of(s);
    REQUIRE(size && r->answered);
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    free(copy);
    r->unread += size;
    REQUIRE(r->unread <= WINDOW);
    mw_client_consume(client, NULL, size);
    if (r->left % 5 == 0) {
        mw_client_consume(client, s, r->unread);
        r->unread = 0;
    }
    if (r->left % 13 == 6) mw_client_reset(client, s, NGHTTP2_CANCEL);
}

static void frame(mw_client_stream *s, int headers, int end) {
    request *r = of(s);
    (void)end;
    if (headers && s->http_status >= 200) r->answered = true;
    REQUIRE(s->http_status >= 100 && s->http_status <= 999 && s->grpc_status >= -1 && s->grpc_status <= 16);
}

static void submit(unsigned which);

static void closed(mw_client_stream *s, uint32_t error) {
    request *r = of(s);
    r->live = false;
    if (error == NGHTTP2_REFUSED_STREAM) submit((unsigned)(r - requests)); /* as a retry would */
}

static void pong(void *context) { REQUIRE(context == requests); }

static void greeted(void *context) {
    REQUIRE(context == requests && !met);
    met = true;
}

static void goaway(void *context) { REQUIRE(context == requests); }

static const mw_client_calls CALLS = {body, field, data, frame, closed};
static const mw_client_hooks HOOKS = {greeted, pong, goaway};

static void submit(unsigned which) {
    request *r = &requests[which % STREAMS];
    if (r->live) return;
    memset(r, 0, sizeof *r);
    r->stream.calls = &CALLS;
    r->stream.owner = r;
    r->left = which * 977 % 40000;
    uint8_t *fields = malloc(40000);
    size_t n = mw_hpack_field(fields, "x-request-id", 12, "0123456789abcdef", which % 17);
    if (which % 16 == 9) {
        uint8_t *large = calloc(1, 30000);
        memset(large, 'v', 30000);
        n += mw_hpack_field(fields + n, "x-large", 7, large, which % 64 * 467);
        free(large);
    }
    const char *path = PATH[which / 4 % PATHS];
    r->live = true;
    if (mw_client_submit(client, &r->stream, path, strlen(path), fields, n) < 0) r->live = false;
    free(fields);
}

static size_t write_some(size_t room) {
    if (room < 16) room = 16;
    uint8_t *to = malloc(room);
    size_t n = mw_client_write(client, to, room);
    REQUIRE(n <= room);
    written = realloc(written, written_size + n + 1);
    memcpy(written + written_size, to, n);
    written_size += n;
    free(to);
    return n;
}

static void check_block(nghttp2_hd_inflater *inflater, const uint8_t *in, size_t size) {
    int pseudo = 0, te = 0, flags;
    do {
        nghttp2_nv nv;
        flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, in, size, 1);
        REQUIRE(n >= 0);
        in += n, size -= (size_t)n;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT)) continue;
        pseudo += nv.name[0] == ':';
        te += nv.namelen == 2 && !memcmp(nv.name, "te", 2) && nv.valuelen == 8 && !memcmp(nv.value, "trailers", 8);
        if (nv.namelen == 5 && !memcmp(nv.name, ":path", 5))
            REQUIRE((nv.valuelen == strlen(PATH[0]) && !memcmp(nv.value, PATH[0], nv.valuelen)) ||
                    (nv.valuelen == strlen(PATH[1]) && !memcmp(nv.value, PATH[1], nv.valuelen)));
    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));
    nghttp2_hd_inflate_end_headers(inflater);
    REQUIRE(pseudo == 4 && te == 1);
}

/* Whole frames, in an order that section 6.10 allows. The last may still be on its way. */
static void check_written(void) {
    nghttp2_hd_inflater *inflater;
    REQUIRE(nghttp2_hd_inflate_new(&inflater) == 0);
    uint8_t *block = malloc(written_size + 1);
    size_t block_size = 0, at = NGHTTP2_CLIENT_MAGIC_LEN;
    bool inside = false;
    if (written_size >= at) REQUIRE(!memcmp(written, NGHTTP2_CLIENT_MAGIC, at));
    while (at + 9 <= written_size) {
        const uint8_t *h = written + at;
        size_t size = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        REQUIRE(size <= MW_CLIENT_FRAME && h[3] <= 9 && inside == (h[3] == NGHTTP2_CONTINUATION));
        if (at + 9 + size > written_size) break;
        if (h[3] == NGHTTP2_HEADERS || h[3] == NGHTTP2_CONTINUATION) {
            memcpy(block + block_size, h + 9, size);
            block_size += size;
            inside = !(h[4] & NGHTTP2_FLAG_END_HEADERS);
            if (!inside) {
                check_block(inflater, block, block_size);
                block_size = 0;
            }
        }
        at += 9 + size;
    }
    free(block);
    nghttp2_hd_inflate_del(inflater);
}

static void check_streams(void) {
    uint32_t with_id = 0, all = 0;
    for (mw_client_stream *s = NULL; (s = mw_client_next(client, s));) {
        REQUIRE(of(s) && ++all <= STREAMS);
        with_id += s->id != 0;
    }
    REQUIRE(with_id == client->open);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size) {
    written_size = 0;
    met = false;
    memset(requests, 0, sizeof requests);
    client = mw_client_new(&HOOKS, requests, "upstream:1", 10, size & 1, WINDOW, CONNECTION_WINDOW);
    if (size & 2) client->next_id = 0x7ffffff9; /* four streams before there are no more ids */
    bool ended = false;
    for (size_t at = 0; at + 2 <= size && !ended;) {
        uint8_t what = in[at], which = in[at + 1];
        request *r = &requests[which % STREAMS];
        at += 2;
        switch (what % 8) {
            case 0: submit(which); break;
            case 1: write_some((size_t)which * 257); break;
            case 2:
                if (r->live) mw_client_reset(client, &r->stream, which);
                break;
            case 3:
                if (r->live) mw_client_resume(client, &r->stream);
                break;
            case 4:
                if (r->live) mw_client_consume(client, &r->stream, r->unread);
                r->unread = 0;
                break;
            case 5: mw_client_ping(client); break;
            default: {
                size_t n = (size_t)which * (what % 8 == 6 ? 1 : 64);
                if (n > size - at) n = size - at;
                uint8_t *copy = malloc(n);
                if (n) memcpy(copy, in + at, n);
                at += n;
                ended = mw_client_receive(client, copy, n) < 0;
                free(copy);
            }
        }
        REQUIRE(client->received <= CONNECTION_WINDOW && client->open <= STREAMS);
        check_streams();
    }
    for (int i = 0; i < 64 && write_some(65536); i++) {}
    check_written();
    mw_client_lose(client);
    for (int i = 0; i < STREAMS; i++) REQUIRE(!requests[i].live);
    REQUIRE(client->open == 0 && !mw_client_busy(client));
    mw_client_free(client);
    return 0;
}
