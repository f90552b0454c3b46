# SPDX-License-Identifier: GPL-2.0-or-later
"""Random trees of QEMU devices, and QEMU's monitor: what the recorders of this folder share.

A tree depends on its seed only, so that a recording can be made again.
"""
import json, random, socket, time


class Monitor:
    def __init__(self, path):
        for _ in range(100):
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise RuntimeError("the monitor closed")
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])

    def human(self, text):
        return self.command("human-monitor-command", **{"command-line": text})


SIZES = ["4K", "64K", "1M", "2M", "16M", "64M", "256M"]


def endpoint(rng, bus, address, number, conventional):
    """One endpoint as -device arguments."""
    kinds = ["pci-testdev", "pci-testdev", "edu", "e1000", "virtio", "xhci"]
    if not conventional:
        kinds += ["nvme", "e1000e", "big", "nvme"]
    kind = rng.choice(kinds)
    place = f"bus={bus},addr={address:x}"
    rom = rng.random() < 0.3
    romfile = "" if rom else ",romfile="
    if kind == "pci-testdev":
        return f"pci-testdev,membar={rng.choice(SIZES)},{place}"
    if kind == "big":
        return f"pci-testdev,membar={rng.choice(['1G', '2G', '8G'])},{place}"
    if kind == "edu":
        return f"edu,{place}"
    if kind == "e1000":
        return f"e1000,{place}{romfile}"
    if kind == "e1000e":
        return f"e1000e,{place}{romfile}"
    if kind == "virtio":
        return f"virtio-net-pci,{place}{romfile}"
    if kind == "xhci":
        return f"qemu-xhci,{place}"
    return f"nvme,serial=n{number},{place}"


def reserve(rng):
    text = ""
    if rng.random() < 0.4:
        text += f",mem-reserve={rng.choice(['4M', '32M', '100M'])}"
    if rng.random() < 0.3:
        text += f",pref64-reserve={rng.choice(['64M', '1G', '3G'])}"
    elif rng.random() < 0.2:
        text += f",pref32-reserve={rng.choice(['16M', '64M'])}"
    if rng.random() < 0.3:
        text += f",io-reserve={rng.choice(['4K', '8K', '0'])}"
    if rng.random() < 0.3:
        text += f",bus-reserve={rng.choice([1, 2, 4])}"
    return text


def tree(seed):
    """-device arguments of tree number `seed`."""
    rng = random.Random(seed)
    devices = []
    count = 0
    slot = 1
    for port in range(rng.randint(1, 5)):
        slot += rng.randint(1, 2)
        name = f"rp{port}"
        devices.append(f"pcie-root-port,id={name},bus=pcie.0,chassis={port + 1},slot={port + 1},addr={slot:x}"
                       + (reserve(rng) if rng.random() < 0.5 else "")
                       + (",hotplug=off" if rng.random() < 0.2 else ""))
        below = rng.random()
        if below < 0.2:
            continue
        if below < 0.5:
            count += 1
            devices.append(endpoint(rng, name, 0, count, False))
        elif below < 0.75:
            devices.append(f"x3130-upstream,id=up{port},bus={name}")
            for down in range(rng.randint(1, 4)):
                devices.append(f"xio3130-downstream,id=dn{port}x{down},bus=up{port},chassis={10 * (port + 1) + down},"
                               f"slot={down},addr={down:x}")
                if rng.random() < 0.7:
                    count += 1
                    devices.append(endpoint(rng, f"dn{port}x{down}", 0, count, False))
        else:
            devices.append(f"pcie-pci-bridge,id=br{port},bus={name}")
            for place in range(1, rng.randint(2, 4)):
                count += 1
                devices.append(endpoint(rng, f"br{port}", place, count, True))
    for _ in range(rng.randint(0, 4)):
        slot += 1
        count += 1
        devices.append(endpoint(rng, "pcie.0", slot, count, True))
    if rng.random() < 0.4:
        slot += 1
        devices.append(f"{rng.choice(['VGA', 'bochs-display'])},bus=pcie.0,addr={slot:x}")
    memory = rng.choice([512, 1024, 2048, 3072, 5120])
    return devices, memory


def extras(rng, root, slots, hosts):
    """Devices for what `tree` lacks: nested switches, VFs, large memory, multi-function ports, more host bridges.

    root is the bus to put them on, slots the free device numbers there, hosts whether host bridges can be added.
    Each function takes the kinds that the dice choose; the result are QEMU arguments, not only -device's.
    """
    arguments = []
    slots = list(slots)
    rng.shuffle(slots)
    kinds = rng.sample(["vfs", "nested", "memory", "functions", "old", "many", "host"], rng.randint(1, 3))
    if "vfs" in kinds:
        vfs = rng.choice([2, 4, 7])
        arguments += ["-device", f"pcie-root-port,id=xv,bus={root},chassis=90,slot=90,addr={slots.pop():x}"]
        arguments += ["-device", "nvme-subsys,id=subsystem"]
        arguments += ["-device", f"nvme,serial=vf,bus=xv,subsys=subsystem,sriov_max_vfs={vfs},"
                                 f"sriov_vq_flexible={2 * vfs},sriov_vi_flexible={vfs},max_ioqpairs={2 * vfs + 2},"
                                 f"msix_qsize={vfs + 2}"]
    if "nested" in kinds:
        arguments += ["-device", f"pcie-root-port,id=xn,bus={root},chassis=91,slot=91,addr={slots.pop():x}"
                                 + reserve(rng)]
        bus, number = "xn", 0
        for level in range(rng.randint(2, 4)):
            arguments += ["-device", f"x3130-upstream,id=xu{level},bus={bus}"]
            width = rng.randint(1, 3)
            for down in range(width):
                arguments += ["-device", f"xio3130-downstream,id=xd{level}x{down},bus=xu{level},"
                                         f"chassis={92 + level},slot={down},addr={down:x}"]
                if down > 0 and rng.random() < 0.6:
                    number += 1
                    arguments += ["-device", endpoint(rng, f"xd{level}x{down}", 0, f"n{number}", False)]
            bus = f"xd{level}x0"
        arguments += ["-device", endpoint(rng, bus, 0, "last", False)]
    if "memory" in kinds:
        size = rng.choice(["16M", "256M", "1G"])
        arguments += ["-object", f"memory-backend-ram,id=shared,size={size},share=on"]
        arguments += ["-device", f"pcie-root-port,id=xm,bus={root},chassis=97,slot=97,addr={slots.pop():x}"]
        arguments += ["-device", "ivshmem-plain,memdev=shared,bus=xm"]
    if "functions" in kinds:
        slot = slots.pop()
        for function in range(rng.randint(2, 4)):
            arguments += ["-device", f"pcie-root-port,id=xf{function},bus={root},chassis={100 + function},"
                                     f"slot={100 + function},addr={slot:x}.{function}"
                                     + (",multifunction=on" if function == 0 else "")]
            if rng.random() < 0.7:
                arguments += ["-device", endpoint(rng, f"xf{function}", 0, f"f{function}", False)]
    if "old" in kinds:
        arguments += ["-device", f"i82801b11-bridge,id=xo,bus={root},addr={slots.pop():x}"]
        arguments += ["-device", "pci-bridge,id=xp,bus=xo,chassis_nr=110,addr=1"]
        for place in range(2, rng.randint(3, 5)):
            arguments += ["-device", endpoint(rng, rng.choice(["xo", "xp"]), place, f"o{place}", True)]
    if "many" in kinds:
        for port in range(min(len(slots) - 1, rng.randint(4, 7))):
            arguments += ["-device", f"pcie-root-port,id=xx{port},bus={root},chassis={120 + port},slot={120 + port},"
                                     f"addr={slots.pop():x}"]
    if "host" in kinds and hosts:
        arguments += ["-device", f"pxb-pcie,id=xh,bus={root},bus_nr=128,addr={slots.pop():x}"]
        for port in range(rng.randint(1, 2)):
            arguments += ["-device", f"pcie-root-port,id=xh{port},bus=xh,chassis={130 + port},slot={130 + port},"
                                     f"addr={port + 1:x}"]
            if rng.random() < 0.7:
                arguments += ["-device", endpoint(rng, f"xh{port}", 0, f"h{port}", False)]
    return arguments


def parallel_tree(rng, buses, slots):
    """Arguments of a tree of conventional buses: bridges up to three deep, endpoints anywhere.

    buses are the root buses, slots the device numbers that may be used there.
    """
    arguments = []
    free = {bus: list(slots) for bus in buses}
    for bus in free:
        rng.shuffle(free[bus])
    depth = {bus: 0 for bus in buses}
    number = 0
    for _ in range(rng.randint(0, 4)):
        above = rng.choice([bus for bus in free if depth[bus] < 3 and free[bus]])
        name = f"pb{len(depth)}"
        arguments += ["-device", f"pci-bridge,id={name},bus={above},chassis_nr={len(depth)},"
                                 f"addr={free[above].pop():x}"]
        free[name] = list(range(1, 16))
        depth[name] = depth[above] + 1
    for _ in range(rng.randint(2, 8)):
        bus = rng.choice([bus for bus in free if free[bus]])
        number += 1
        arguments += ["-device", endpoint(rng, bus, free[bus].pop(), f"p{number}", rng.random() < 0.7)]
    return arguments


def port_tree(rng, buses):
    """Arguments of a tree below ports that take one device each: an endpoint, functions, a switch, a PCI bus."""
    arguments = []
    for number, bus in enumerate(buses):
        kind = rng.choice(["none", "one", "switch", "switch", "bridge", "vfs"])
        if kind == "one":
            arguments += ["-device", endpoint(rng, bus, 0, f"e{number}", False)]
        elif kind == "switch":
            arguments += ["-device", f"x3130-upstream,id=pu{number},bus={bus}"]
            for down in range(rng.randint(1, 4)):
                arguments += ["-device", f"xio3130-downstream,id=pd{number}x{down},bus=pu{number},"
                                         f"chassis={10 * (number + 1) + down},slot={down},addr={down:x}"]
                if rng.random() < 0.7:
                    arguments += ["-device", endpoint(rng, f"pd{number}x{down}", 0, f"s{number}x{down}", False)]
        elif kind == "bridge":
            arguments += ["-device", f"pcie-pci-bridge,id=pp{number},bus={bus}"]
            for place in range(1, rng.randint(2, 4)):
                arguments += ["-device", endpoint(rng, f"pp{number}", place, f"c{number}x{place}", True)]
        elif kind == "vfs" and not any("sriov" in argument for argument in arguments):
            arguments += ["-device", "nvme-subsys,id=subsystem"]
            arguments += ["-device", f"nvme,serial=vf,bus={bus},subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,"
                                     "sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=6"]
    return arguments


def words(rng, realloc):
    """Words for the kernel's command line: mostly none."""
    if rng.random() < 0.6:
        return ""
    choice = rng.sample(["hpmmiosize=16M", "hpmmioprefsize=256M", "hpiosize=8K", "hpbussize=4", "hpmemsize=8M"]
                        + (["realloc=on"] if realloc else []), rng.randint(1, 2))
    return " pci=" + ",".join(choice)
