/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "CPlanExecutor.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

int is_in_sysfs(int fd)
{
    struct statfs status;

    return fstatfs(fd, &status) == 0 && status.f_type == SYSFS_MAGIC;
}

int is_in_memory(int fd)
{
    struct statfs status;

    return fstatfs(fd, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

int send_datagram(const char *path, const void *bytes, size_t count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int error = 0;
    int file;

    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0)
        return errno;
    if (sendto(file, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address) < 0)
        error = errno;
    close(file);
    return error;
}
