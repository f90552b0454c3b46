/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "CPlanExecutor.h"

#include <linux/magic.h>
#include <sys/vfs.h>

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
