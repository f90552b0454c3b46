/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "CFuzzDriver.h"

int run_fuzzer(int count, char **arguments, int (*body)(const uint8_t *bytes, size_t size))
{
    return LLVMFuzzerRunDriver(&count, &arguments, body);
}
