print("pci-rebalance")
