/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lets a program die or its writes fail at chosen moments: a library for LD_PRELOAD, so that the program under test
 * carries no hooks of its own.
 *
 *   FAULT_COUNT=FILE    writes the number of moments passed to FILE at a normal end
 *   FAULT_KILL=N        kills the program with SIGKILL at the N-th moment, from 1
 *   FAULT_PAUSE=N:PATH  makes PATH.paused at the N-th moment and waits until PATH.go is there
 *   FAULT_REFUSE=N      the N-th deed (first write of the N-th child, from 1) fails with EBUSY
 *   FAULT_HANG=N:S      the N-th deed sleeps S seconds before it is done
 *   FAULT_PATIENCE=MS   poll() waits at most MS milliseconds
 *   FAULT_BEFORE=N      kills the program just before the N-th deed
 *   FAULT_AFTER=N:PATH  after the N-th deed makes PATH.paused and waits until PATH.go is there; N alone does not wait
 *   FAULT_DIE=1         kills the program there, after the wait
 *   FAULT_FIRED=FILE    makes FILE when a deed is refused, hangs, or one of the last three happens
 *
 * Moments: before and after a file or directory is brought to the disk, before and after a rename, before and after
 * a child is made, after a child has been waited for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int moments;
static int deeds;
static int deed_is_pending;
static int after_is_due;

static int number(const char *name)
{
    const char *text = getenv(name);

    return text ? atoi(text) : 0;
}

static void wait_here(const char *path)
{
    char name[256];
    int file;

    if (!path)
        return;
    snprintf(name, sizeof name, "%s.paused", path + 1);
    file = open(name, O_WRONLY | O_CREAT, 0600);
    if (file >= 0)
        close(file);
    snprintf(name, sizeof name, "%s.go", path + 1);
    while (access(name, F_OK) != 0)
        usleep(20000);
}

static void fired(void)
{
    const char *path = getenv("FAULT_FIRED");
    int file = path ? open(path, O_WRONLY | O_CREAT, 0600) : -1;

    if (file >= 0)
        close(file);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

static void moment(void)
{
    if (deed_is_pending)
        return;
    if (after_is_due) {
        after_is_due = 0;
        fired();
        wait_here(strchr(getenv("FAULT_AFTER"), ':'));
        if (number("FAULT_DIE"))
            die();
    }
    if (++moments == number("FAULT_KILL"))
        die();
    if (moments == number("FAULT_PAUSE"))
        wait_here(strchr(getenv("FAULT_PAUSE"), ':'));
}

__attribute__((destructor)) static void count(void)
{
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path && !deed_is_pending ? fopen(path, "w") : NULL;

    if (!file)
        return;
    fprintf(file, "%d %d\n", moments, deeds);
    fclose(file);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result;

    moment();
    result = real(fd);
    moment();
    return result;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result;

    moment();
    result = real(fd);
    moment();
    return result;
}

int renameat(int from, const char *old, int to, const char *new)
{
    int (*real)(int, const char *, int, const char *) =
        (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    int result;

    moment();
    result = real(from, old, to, new);
    moment();
    return result;
}

pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
    pid_t child;

    moment();
    if (++deeds == number("FAULT_BEFORE")) {
        fired();
        die();
    }
    child = real();
    if (child == 0) {
        deed_is_pending = 1;
        return 0;
    }
    moment();
    after_is_due = deeds == number("FAULT_AFTER");
    return child;
}

pid_t waitpid(pid_t child, int *status, int options)
{
    pid_t (*real)(pid_t, int *, int) = (pid_t (*)(pid_t, int *, int))dlsym(RTLD_NEXT, "waitpid");
    pid_t result = real(child, status, options);

    moment();
    return result;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    int (*real)(struct pollfd *, nfds_t, int) = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    int patience = number("FAULT_PATIENCE");

    return real(fds, n, patience > 0 && timeout > patience ? patience : timeout);
}

/* 1 when the deed is to fail. */
static int spoil_deed(void)
{
    const char *hang = getenv("FAULT_HANG");

    if (deed_is_pending != 1)
        return 0;
    deed_is_pending = 2;
    if (hang && atoi(hang) == deeds && strchr(hang, ':')) {
        fired();
        sleep(atoi(strchr(hang, ':') + 1));
    }
    if (deeds != number("FAULT_REFUSE"))
        return 0;
    fired();
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");

    if (spoil_deed()) {
        errno = EBUSY;
        return -1;
    }
    return real(fd, bytes, count);
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t count, off64_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, name);

    if (spoil_deed()) {
        errno = EBUSY;
        return -1;
    }
    return real(fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    return write_at("pwrite", fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    return write_at("pwrite64", fd, bytes, count, offset);
}
