/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "CPlanExecutor.h"

static int given_count;
static char **given;

/* The C library hands the arguments to every constructor, before main and without /proc. */
__attribute__((constructor)) static void keep_arguments(int count, char **arguments)
{
    given_count = count;
    given = arguments;
}

char **process_arguments(int *count)
{
    *count = given_count;
    return given;
}
