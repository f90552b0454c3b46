/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "CPlanExecutor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct message {
    int32_t error;
    int64_t written;
};

static int64_t now_milliseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Only async-signal-safe calls: the parent may have had threads. */
static void write_in_child(int fd, const void *bytes, size_t count, int64_t offset, int report)
{
    struct message message = {0, 0};
    int null = open("/dev/null", O_RDWR);
    ssize_t written;

    /* A reader of our output must not wait for a child that hangs. */
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
    }
    /* A terminal's interrupt is for the parent; the write itself is not to be torn. */
    setpgid(0, 0);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    written = offset < 0 ? write(fd, bytes, count) : pwrite(fd, bytes, count, (off_t)offset);
    if (written < 0)
        message.error = errno;
    else
        message.written = written;
    written = write(report, &message, sizeof message);
    _exit(written == (ssize_t)sizeof message ? 0 : 1);
}

struct deadline_write write_within(int fd, const void *bytes, size_t count, int64_t offset, int milliseconds)
{
    struct deadline_write result = {0, 0, 0};
    struct message message = {EIO, 0};
    int64_t deadline = now_milliseconds() + milliseconds;
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        result.error = errno;
        return result;
    }
    child = fork();
    if (child < 0) {
        result.error = errno;
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    if (child == 0) {
        close(ends[0]);
        write_in_child(fd, bytes, count, offset, ends[1]);
    }
    close(ends[1]);
    for (;;) {
        struct pollfd wait = {ends[0], POLLIN, 0};
        int64_t left = deadline - now_milliseconds();
        int ready = poll(&wait, 1, left > 0 ? (int)left : 0);

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready > 0)
            break;
        result.error = ETIMEDOUT;
        result.child = child;
        close(ends[0]);
        return result;
    }
    /* A pipe hands over so few bytes in one piece; fewer mean that the child was killed before it could tell. */
    if (read(ends[0], &message, sizeof message) != (ssize_t)sizeof message)
        message = (struct message){EIO, 0};
    close(ends[0]);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    result.error = message.error;
    result.written = message.written;
    return result;
}

int await_left_child(pid_t child, int milliseconds)
{
    int64_t deadline = now_milliseconds() + milliseconds;

    for (;;) {
        struct timespec pause = {0, 20 * 1000000};
        pid_t ended = waitpid(child, NULL, WNOHANG);

        if (ended == child || (ended < 0 && errno == ECHILD))
            return 1;
        if (now_milliseconds() >= deadline)
            return 0;
        nanosleep(&pause, NULL);
    }
}
