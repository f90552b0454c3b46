/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PCI_REBALANCE_CLIBPCI_H
#define PCI_REBALANCE_CLIBPCI_H
#include <pci/pci.h>
#endif
