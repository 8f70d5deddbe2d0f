/* The client's half of one HTTP/2 connection (RFC 9113), to an upstream that is asked many small things.
 *
 * libnghttp2 spends four fifths of a forwarded request's instructions on what any client might do: priorities, a map of
 * streams, fields compressed and checked one by one. Here are the frames alone. Requests name their constant fields by
 * entries of the dynamic table that are made once; blocks of answers that name only such entries, as nearly all do, are
 * recognised without being decoded. Whatever else comes is decoded by libnghttp2's inflater.
 *
 * Bytes in, bytes out: no I/O, no clock. Everything that the peer sends is checked here. Streams are embedded in what
 * their owner knows of the request, and in use until `closed`, which nothing but mw_client_receive, _write and _lose call. */
#ifndef MW_CLIENT_H
#define MW_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    MW_CLIENT_BUCKETS = 512,
    MW_CLIENT_PINNED = 4,    /* :authority, content-type, te, and the one :path that counts */
    MW_CLIENT_KNOWN = 48,    /* bytes of a block of an answer that is recognised */
    MW_CLIENT_FRAME = 16384, /* largest payload that we take: SETTINGS_MAX_FRAME_SIZE is never raised */
    MW_CLIENT_DEFERRED = -1, /* of mw_client_calls.read: nothing yet; mw_client_resume when there is */
};
#define MW_CLIENT_LOST UINT32_MAX /* in place of an error code: the connection has gone */

#define MW_CLIENT_IGNORED 1

typedef struct mw_client mw_client;
typedef struct mw_client_stream mw_client_stream;

typedef struct { /* what a stream's owner does. Within, any of the functions below may be called but
                                     mw_client_receive, _write, _lose and _free */
    /* up to `room` bytes of the request's body. The number, or MW_CLIENT_DEFERRED; *end: they are the last */
    ssize_t (*read)(mw_client_stream *, uint8_t *to, size_t room, int *end);
    /* a regular field but grpc-status and what the answer's encoding says. MW_CLIENT_IGNORED: the field tells no owner
     * anything, whatever its value; below 0 resets the stream */
    int (*field)(mw_client_stream *, const uint8_t *name, size_t, const uint8_t *value, size_t);
    /* bytes of the answer, to be mw_client_consume'd */
    void (*data)(mw_client_stream *, const uint8_t *, size_t);
    /* the end of a header block, or of a DATA frame; end: END_STREAM */
    void (*frame)(mw_client_stream *, int headers, int end);
    /* the last call */
    void (*closed)(mw_client_stream *, uint32_t error);
} mw_client_calls;

struct mw_client_stream {         /* zeroed by its owner before mw_client_submit, but for the first two */
    const mw_client_calls *calls; /* static */
    void *owner;                  /* borrowed: what it is embedded in */
    mw_client_stream *bucket_next;
    mw_client_stream *previous; /* of the list that it is in, if any */
    mw_client_stream *next;
    uint8_t *block; /* owned; fields of a request that waits for the peer's limit of streams */
    size_t block_size;
    int64_t send_window; /* may be negative */
    uint32_t received;   /* bytes whose window is not opened again */
    uint32_t consumed;   /* of those, taken by the owner */
    uint32_t error;      /* while it is closing */
    int32_t id;          /* 0 while it waits */
    int http_status;     /* -1 before it has come */
    int grpc_status;     /* -1 absent */
    uint8_t list;
    bool answered; /* its response's header block has come; the next are trailers */
    bool deferred; /* `read` had nothing */
    bool local_ended;
    bool remote_ended;
};

typedef struct {                          /* what the connection's owner does. The same rule */
    void (*settings)(void *context);      /* the peer's first SETTINGS have come: a server is there */
    void (*ping_answered)(void *context); /* or what looks like the answer to a PING */
    void (*goaway)(void *context);        /* no stream is opened here any more, by the peer's wish or for want of ids */
} mw_client_hooks;

typedef struct {
    mw_client_stream *first, *last;
} mw_client_list;

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} mw_client_buffer;

typedef struct { /* what a block of indexed fields has said, as long as the table is as it was */
    uint8_t bytes[MW_CLIENT_KNOWN];
    size_t size; /* 0: nothing is known */
    int http_status, grpc_status;
} mw_client_block;

struct mw_client {
    const mw_client_hooks *hooks; /* static */
    void *context;                /* borrowed */
    nghttp2_hd_inflater *inflater;
    mw_client_buffer out; /* frames but DATA, in the order of the wire */
    size_t out_sent;
    mw_client_buffer in;    /* the beginning of a frame whose rest has not come */
    mw_client_buffer block; /* a header block that goes on in CONTINUATIONs */
    mw_client_list waiting; /* for the peer's limit of streams */
    mw_client_list ready;   /* with something to send */
    mw_client_list closing; /* reset by us, or refused by a GOAWAY: `closed` is next */
    mw_client_stream *bucket[MW_CLIENT_BUCKETS];
    uint32_t open;        /* streams with an id */
    uint32_t max_streams; /* the peer's settings */
    int64_t initial_window;
    int64_t send_window;
    uint32_t stream_window; /* ours */
    uint32_t window;
    uint32_t received; /* as in a stream */
    uint32_t consumed;
    int64_t next_id;
    int32_t continued; /* stream whose header block goes on; 0 for none */
    uint8_t continuations;
    uint32_t acks;      /* of SETTINGS and PING that wait in out */
    bool continued_end; /* and whether it ends the stream */
    bool greeted;       /* the peer's first SETTINGS have come */
    bool goaway;
    bool failed; /* a connection error: our GOAWAY is the last that is sent */
    bool secure;
    bool indexing;                     /* the peer's table has room for the pinned fields */
    bool resize;                       /* a table size update is due */
    uint32_t pins;                     /* entries made in the peer's table */
    uint32_t pinned[MW_CLIENT_PINNED]; /* the how manyth it was; 0 not there yet */
    const char *authority;             /* borrowed */
    size_t authority_size;
    mw_client_block known[2]; /* of headers, of trailers */
};

/* stream_window, window: what the peer may send unread, in bytes. NULL for want of memory. */
mw_client *mw_client_new(const mw_client_hooks *, void *context, const char *authority, size_t authority_size,
                         bool secure, uint32_t stream_window, uint32_t window);
void mw_client_lose(mw_client *); /* closes every stream with MW_CLIENT_LOST; nothing is to follow but mw_client_free */
void mw_client_free(mw_client *); /* NULL is fine */

/* A POST of content-type application/grpc; fields: literal ones, encoded (hpack.h). -1 where no stream can be opened any more. */
int mw_client_submit(mw_client *, mw_client_stream *, const char *path, size_t path_size, const uint8_t *fields,
                     size_t size);
void mw_client_resume(mw_client *, mw_client_stream *);
void mw_client_reset(mw_client *, mw_client_stream *, uint32_t error);
void mw_client_consume(mw_client *, mw_client_stream *,
                       size_t size); /* the stream's window; with NULL the connection's */
void mw_client_ping(mw_client *);

int mw_client_receive(mw_client *, const uint8_t *data,
                      size_t size);                            /* -1: the connection is to end, once all is written */
size_t mw_client_write(mw_client *, uint8_t *to, size_t room); /* 0: nothing more now */
bool mw_client_busy(const mw_client *);                        /* somebody waits for an answer */
/* Each stream once, from NULL to NULL, as long as none is opened or closed meanwhile: those with an id, then those that wait. */
mw_client_stream *mw_client_next(const mw_client *, const mw_client_stream *);
bool mw_client_done(const mw_client *); /* after a GOAWAY, with nothing left open */

#endif
