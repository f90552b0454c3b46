/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "CPlanExecutor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_milliseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Only async-signal-safe calls: the parent may have had threads. */
static void become(const char *path, char *const arguments[], char *const environment[], int output)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;
    int file;

    /* A group of its own, so that all of it can be ended; and the terminal's interrupt is for the parent. */
    setpgid(0, 0);
    for (file = 1; file < NSIG; file++)
        signal(file, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || chdir("/") != 0)
        _exit(126);
    /* Nothing that is open here is for it, the lock least of all. */
    for (file = 3; file < 1024; file++)
        close(file);
    umask(022);
    execve(path, arguments, environment);
    _exit(errno == ENOENT ? 127 : 126);
}

/* Reads what is there without waiting; what no longer fits is read and dropped. 0 when the pipe has ended. */
static int drain(int file, char *output, size_t capacity, size_t *count)
{
    char rest[512];

    for (;;) {
        int fits = *count < capacity;
        ssize_t got = read(file, fits ? output + *count : rest, fits ? capacity - *count : sizeof rest);

        if (got < 0)
            return errno == EAGAIN || errno == EINTR;
        if (got == 0)
            return 0;
        if (fits)
            *count += (size_t)got;
        else
            return 1;
    }
}

struct program_end run_program(
    const char *path, char *const arguments[], char *const environment[], int milliseconds, char *output,
    size_t capacity)
{
    struct program_end end = {0, 0, 0, 0};
    int64_t deadline = now_milliseconds() + milliseconds;
    int is_open = 1;
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        end.error = errno;
        return end;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child = fork();
    if (child < 0) {
        end.error = errno;
        close(ends[0]);
        close(ends[1]);
        return end;
    }
    if (child == 0)
        become(path, arguments, environment, ends[1]);
    setpgid(child, child);
    close(ends[1]);
    for (;;) {
        struct pollfd wait = {ends[0], POLLIN, 0};
        pid_t ended = waitpid(child, &end.status, WNOHANG);
        int64_t left = deadline - now_milliseconds();

        if (is_open)
            is_open = drain(ends[0], output, capacity, &end.count);
        if (ended == child)
            break;
        if (ended < 0 && errno != EINTR) {
            end.error = errno;
            break;
        }
        if (left <= 0) {
            end.is_timed_out = 1;
            kill(-child, SIGKILL);
            /* It may sleep in the kernel where no signal reaches it; nobody waits for that. */
            for (int i = 0; i < 50 && waitpid(child, &end.status, WNOHANG) == 0; i++)
                poll(NULL, 0, 20);
            break;
        }
        /* The end of the child closes the pipe in most cases; whatever it started may keep it open. */
        poll(is_open ? &wait : NULL, is_open ? 1 : 0, left < 20 ? (int)left : 20);
    }
    close(ends[0]);
    return end;
}
