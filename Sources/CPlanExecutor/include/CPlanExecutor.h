/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CPLANEXECUTOR_H
#define CPLANEXECUTOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How a write in a child process ended. */
struct deadline_write {
    /* The errno of the write, 0 when it succeeded, ETIMEDOUT when it has not ended in time. */
    int32_t error;
    /* The number of bytes written. */
    int64_t written;
    /* The child that is still writing after a timeout, else 0. */
    pid_t child;
};

/*
 * Writes `count` bytes of `bytes` to the open file `fd` (at `offset` when that is not negative) in a child process and
 * waits at most `milliseconds` for it.
 *
 * A write to a sysfs attribute may sleep in the kernel where no signal reaches it. A thread in that state would keep
 * the whole process from ending; a child does not. After a timeout the child is left alone: the kernel finishes the
 * write whenever it can, and the child ends by itself.
 */
struct deadline_write write_within(int fd, const void *bytes, size_t count, int64_t offset, int milliseconds);

/* Waits at most `milliseconds` for a child that a timeout left behind; 1 when it has ended, else 0. */
int await_left_child(pid_t child, int milliseconds);

/* Whether the open file `fd` lives in a sysfs: 1 or 0. */
int is_in_sysfs(int fd);

/* Whether the open file `fd` lives in memory only (tmpfs, ramfs): 1 or 0. */
int is_in_memory(int fd);

/* Sends one datagram to the socket at `path` without waiting; 0 or an error number. */
int send_datagram(const char *path, const void *bytes, size_t count);

/* How a program ended that was started and waited for. */
struct program_end {
    /* The errno of what kept it from being started or waited for, else 0. */
    int32_t error;
    /* Its wait status. */
    int32_t status;
    /* 1 when it did not end in time and was killed, with its process group. */
    int32_t is_timed_out;
    /* How many bytes of what it wrote are in the buffer. */
    size_t count;
};

/*
 * Runs the program at `path` with nothing on standard input and no open files of this process, in a process group of
 * its own, and waits at most `milliseconds` for it. The first `capacity` bytes that it writes are kept in `output`.
 */
struct program_end run_program(
    const char *path, char *const arguments[], char *const environment[], int milliseconds, char *output,
    size_t capacity);

/* The arguments of the process, its name among them, as the C library handed them over; NULL when it did not. */
char **process_arguments(int *count);

#endif
