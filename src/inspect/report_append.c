/* inspect/report_append.c - files that grow record by record. A record is either in the file as a whole or not at all as far as this process
 * can see to it: a short write is cut off again. Data is handed to the system at once, not forced to the disk. */
#include "inspect/report.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

ed_status ed__append_open(const char *path, bool fresh, int *fd, ed_error *err) {
    *fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_TRUNC : 0), 0666);
    struct stat st;
    if (*fd < 0)
        return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot open for writing: %s", strerror(errno));
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
        return ED_OK;
    close(*fd);
    *fd = -1;
    return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "not a regular file");
}

ed_status ed__append_write(int fd, const char *path, const void *data, size_t n, ed_error *err) {
    off_t start = lseek(fd, 0, SEEK_END);
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)data + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            int why = k < 0 ? errno : ENOSPC;
            if (start >= 0 && ftruncate(fd, start) != 0)
                return ed_error_set(err, ED_E_IO, path, (uint64_t)start, "a half-written record could not be removed: %s", strerror(why));
            return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot write: %s", strerror(why));
        }
        done += (size_t)k;
    }
    return ED_OK;
}
