/* inspect/report_tensorboard.c - scalars for TensorBoard: TFRecord framing around protobuf `Event` messages, encoded by hand.
 *   Event   { 1: double wall_time; 2: int64 step; 3: string file_version; 5: Summary summary; 7: SessionLog session_log }
 *   Summary { 1: Value { 1: string tag; 2: float simple_value } }     SessionLog { 1: enum status, START = 1 }
 * TFRecord: u64 length, masked crc32c of those 8 bytes, data, masked crc32c of data (tensorflow/core/lib/io/record_writer). */
#include "inspect/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define EVENT_MAX ((size_t)64 << 10)

struct ed_tensorboard {
    char *path;
    int fd;
    ed__buf event, record, part;
};

/* CRC-32C (Castagnoli, reflected 0x82F63B78), one bit at a time: events are a hundred bytes. */
uint32_t ed__crc32c(const void *data, size_t n) {
    const unsigned char *p = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static uint32_t masked(uint32_t crc) {
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_le(ed__buf *b, uint64_t v, int bytes) {
    unsigned char raw[8];
    for (int i = 0; i < bytes; i++)
        raw[i] = (unsigned char)(v >> 8 * i);
    ed__buf_put(b, raw, (size_t)bytes);
}

void ed__tfrecord_put(ed__buf *b, const void *data, size_t n) {
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)n >> 8 * i);
    ed__buf_put(b, length, 8);
    put_le(b, masked(ed__crc32c(length, 8)), 4);
    ed__buf_put(b, data, n);
    put_le(b, masked(ed__crc32c(data, n)), 4);
}

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(ed__buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        put_le(b, (v & 0x7f) | 0x80, 1);
    put_le(b, v, 1);
}

static void put_key(ed__buf *b, int field, enum wire type) {
    put_varint(b, (uint64_t)field << 3 | (uint64_t)type);
}

static void put_bytes(ed__buf *b, int field, const void *data, size_t n) {
    put_key(b, field, BYTES);
    put_varint(b, n);
    ed__buf_put(b, data, n);
}

static void begin_event(ed__buf *b, int64_t step) {
    struct timespec now;
    uint64_t bits;
    clock_gettime(CLOCK_REALTIME, &now);
    double wall = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &wall, sizeof bits);
    ed__buf_reset(b);
    put_key(b, 1, FIXED64);
    put_le(b, bits, 8);
    if (step != 0) {
        put_key(b, 2, VARINT);
        put_varint(b, (uint64_t)step);
    }
}

static ed_status end_event(ed_tensorboard *tb, ed_error *err) {
    ED_TRY(ed__buf_result(&tb->event, tb->path, err));
    ed__buf_reset(&tb->record);
    ed__tfrecord_put(&tb->record, tb->event.data, tb->event.len);
    ED_TRY(ed__buf_result(&tb->record, tb->path, err));
    return ed__append_write(tb->fd, tb->path, tb->record.data, tb->record.len, err);
}

/* TensorBoard drops what it read at steps from that of a START event on. */
static ed_status write_head(ed_tensorboard *tb, int64_t resume_step, ed_error *err) {
    static const char version[] = "brain.Event:2";
    static const unsigned char start[] = {1 << 3 | VARINT, 1};
    begin_event(&tb->event, 0);
    put_bytes(&tb->event, 3, version, sizeof version - 1);
    ED_TRY(end_event(tb, err));
    if (resume_step < 0)
        return ED_OK;
    begin_event(&tb->event, resume_step + 1);
    put_bytes(&tb->event, 7, start, sizeof start);
    return end_event(tb, err);
}

/* Host names go into a file name: anything unusual becomes '-'. */
static void host_name(char out[65]) {
    if (gethostname(out, 64) != 0 || out[0] == '\0')
        snprintf(out, 65, "localhost");
    out[64] = '\0';
    for (char *s = out; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '.' || *s == '_'))
            *s = '-';
}

/* A second writer of the same second and process gets a number after the name. */
static ed_status create_file(ed_tensorboard *tb, const char *dir, ed_error *err) {
    char host[65];
    host_name(host);
    for (int again = 0; again < 1000; again++) {
        ed__buf_reset(&tb->part);
        ed__buf_printf(&tb->part, "%s/events.out.tfevents.%010lld.%s.%ld", dir, (long long)time(NULL), host, (long)getpid());
        if (again > 0)
            ed__buf_printf(&tb->part, ".%d", again);
        ED_TRY(ed__buf_result(&tb->part, dir, err));
        tb->fd = open(tb->part.data, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (tb->fd >= 0 || errno != EEXIST)
            break;
    }
    if (tb->fd < 0)
        return ed_error_set(err, ED_E_IO, tb->part.data, ED_NO_OFFSET, "cannot open for writing: %s", strerror(errno));
    tb->path = ed__strdup(tb->part.data);
    return tb->path != NULL ? ED_OK : ed_error_set(err, ED_E_MEMORY, dir, ED_NO_OFFSET, "out of memory");
}

ed_status ed_tensorboard_open(const char *dir, int64_t resume_step, ed_tensorboard **out, ed_error *err) {
    ED_FAIL_IF(dir == NULL || out == NULL, ED_E_INVALID, err, "folder and result must not be NULL");
    *out = NULL;
    ED_TRY(ed__dir_make(dir, err));
    ed_tensorboard *tb = ed__calloc(1, sizeof *tb);
    ED_FAIL_IF(tb == NULL, ED_E_MEMORY, err, "out of memory for an event file");
    tb->fd = -1;
    ed__buf_init(&tb->event, EVENT_MAX);
    ed__buf_init(&tb->record, EVENT_MAX + 16);
    ed__buf_init(&tb->part, EVENT_MAX);
    ed_status s = create_file(tb, dir, err);
    if (s == ED_OK)
        s = write_head(tb, resume_step, err);
    if (s != ED_OK) {
        ed_tensorboard_close(&tb);
        return s;
    }
    *out = tb;
    return ED_OK;
}

ed_status ed_tensorboard_scalar(ed_tensorboard *tb, const char *tag, int64_t step, double value, ed_error *err) {
    ED_FAIL_IF(tb == NULL || tag == NULL, ED_E_INVALID, err, "writer and tag must not be NULL");
    size_t n = strlen(tag);
    if (ed__utf8_valid(tag, n) != n)
        return ed_error_set(err, ED_E_INVALID, tb->path, ED_NO_OFFSET, "the tag is not valid UTF-8");
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    ed__buf *v = &tb->part, *summary = &tb->record; /* record is free until end_event */
    ed__buf_reset(v);
    put_bytes(v, 1, tag, n);
    put_key(v, 2, FIXED32);
    put_le(v, bits, 4);
    ED_TRY(ed__buf_result(v, tb->path, err));
    ed__buf_reset(summary);
    put_bytes(summary, 1, v->data, v->len);
    ED_TRY(ed__buf_result(summary, tb->path, err));
    begin_event(&tb->event, step);
    put_bytes(&tb->event, 5, summary->data, summary->len);
    return end_event(tb, err);
}

const char *ed_tensorboard_path(const ed_tensorboard *tb) {
    return tb->path;
}

void ed_tensorboard_close(ed_tensorboard **tb) {
    if (tb == NULL || *tb == NULL)
        return;
    if ((*tb)->fd >= 0)
        close((*tb)->fd);
    ed__free((*tb)->path);
    ed__buf_deinit(&(*tb)->event);
    ed__buf_deinit(&(*tb)->record);
    ed__buf_deinit(&(*tb)->part);
    ed__free(*tb);
    *tb = NULL;
}
