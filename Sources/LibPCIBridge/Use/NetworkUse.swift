// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Routes, addresses, and the operator's own connection.
enum NetworkUse {
    /// One IPv4 route: destination and mask in host order.
    private struct Route {
        var interface: String
        var destination: UInt32
        var mask: UInt32
    }

    /// One IPv6 route.
    private struct Route6 {
        var interface: String
        var destination: [UInt8]
        var length: Int
    }

    static func read(
        _ sysfs: borrowing Directory,
        _ proc: borrowing Directory,
        sshConnection: String?,
        _ findings: inout UseFindings
    ) {
        guard let net = Directory(in: sysfs, name: "class/net") else { return }
        guard let text = proc.contents("net/route") else {
            findings.gap("routes-unseen", "/proc/net/route could not be read: the default route is not known")
            return
        }
        let routes = TextLines(text).dropFirst().compactMap(route)
        let routes6 = proc.contents("net/ipv6_route").map { TextLines($0).compactMap(route6) } ?? []
        let hosts = peers(proc, sshConnection) + storage(sysfs)
        for name in net.names() where name != "lo" {
            var found: [UseEvidence] = []
            if routes.contains(where: { $0.interface == name && $0.mask == 0 })
                || routes6.contains(where: { $0.interface == name && $0.length == 0 })
            {
                found.append(.vital("default-route", "\(name) carries the default route"))
            }
            for peer in hosts where interface(to: peer.address, routes, routes6) == name {
                found.append(.vital(peer.code, peer.sentence(name)))
            }
            let isRouted =
                routes.contains { $0.interface == name } || routes6.contains { $0.interface == name && isGlobal($0) }
            if found.isEmpty, isRouted { found.append(.use("address", "\(name) has an address", weight: 300)) }
            if found.isEmpty, let master = net.linkName(name + "/master") {
                found.append(.use("enslaved", "\(name) belongs to \(master)", weight: 100))
            }
            if found.isEmpty, let interface = Directory(in: net, name: name),
                interface.text("operstate", Scratch()) == "up"
            {
                found.append(.use("link-up", "\(name) is up", weight: 50))
            }
            for evidence in found { addChain(name, net, evidence, &findings) }
        }
    }

    /// `eth0 00000000 010200C0 0003 0 0 0 00000000 …`: numbers as the machine's byte order prints them.
    private static func route(_ line: TextBytes) -> Route? {
        let words = line.words()
        guard words.count >= 8, let destination = words[1].hexValue, let flags = words[3].hexValue,
            let mask = words[7].hexValue, flags & 1 == 1
        else { return nil }
        // RTF_UP is bit 0; RTF_REJECT (0x200) routes lead nowhere.
        guard flags & 0x200 == 0 else { return nil }
        return Route(
            interface: words[0].string,
            destination: UInt32(bigEndian: UInt32(truncatingIfNeeded: destination)),
            mask: UInt32(bigEndian: UInt32(truncatingIfNeeded: mask))
        )
    }

    /// `<dest 32 digits> <length 2> <source 32> <length 2> <next hop 32> <metric> <ref> <use> <flags> <interface>`
    private static func route6(_ line: TextBytes) -> Route6? {
        let words = line.words()
        guard words.count >= 10, words[0].count == 32, let destination = hexBytes(words[0].string),
            let length = words[1].hexValue, length <= 128, let flags = words[8].hexValue, flags & 1 == 1,
            flags & 0x200 == 0
        else { return nil }
        let name = words[9].string
        return name == "lo" ? nil : Route6(interface: name, destination: destination, length: Int(length))
    }

    /// Whether a route leads somewhere: neither link-local nor multicast.
    private static func isGlobal(_ route: Route6) -> Bool {
        guard let first = route.destination.first else { return false }
        return first != 0xff && !(first == 0xfe && route.destination[1] & 0xc0 == 0x80)
    }

    /// Hosts that the machine talks to and must not lose.
    private struct Peer {
        var address: String
        var code: String
        var what: String

        func sentence(_ interface: String) -> String { "\(interface) \(what) \(address)" }
    }

    private static func peers(_ proc: borrowing Directory, _ ssh: String?) -> [Peer] {
        var result: [Peer] = []
        if let client = ssh?.split(separator: " ").first {
            result.append(Peer(address: String(client), code: "ssh", what: "carries your SSH connection from"))
        }
        guard let mounts = proc.contents("self/mountinfo") else { return result }
        for line in TextLines(mounts) where line.has(" - nfs") || line.has(" - cifs") {
            guard let rest = line.after(",addr=") else { continue }
            let address = rest.before(",").before(" ").string
            result.append(Peer(address: address, code: "network-mount", what: "leads to a mounted file server,"))
        }
        return result
    }

    /// Servers of disks: iSCSI connections, and NVMe controllers behind a network (`traddr=192.0.2.9,trsvcid=4420`).
    private static func storage(_ sysfs: borrowing Directory) -> [Peer] {
        let scratch = Scratch()
        var result: [Peer] = []
        func add(_ address: String) {
            result.append(Peer(address: address, code: "network-disk", what: "leads to the server of a disk,"))
        }
        if let connections = Directory(in: sysfs, name: "class/iscsi_connection") {
            for name in connections.names() {
                guard let connection = Directory(in: connections, name: name) else { continue }
                if let address = connection.text("address", scratch), !address.isEmpty { add(address) }
            }
        }
        if let controllers = Directory(in: sysfs, name: "class/nvme") {
            for name in controllers.names() {
                guard let controller = Directory(in: controllers, name: name),
                    let transport = controller.text("transport", scratch), transport == "tcp" || transport == "rdma",
                    let words = controller.text("address", scratch)
                else { continue }
                for word in words.split(separator: ",") where word.hasPrefix("traddr=") {
                    add(String(word.dropFirst(7)))
                }
            }
        }
        return result
    }

    /// The interface that the longest matching route to `address` names, or nil.
    private static func interface(to address: String, _ routes: [Route], _ routes6: [Route6]) -> String? {
        if let target = ipv4(address) {
            return routes.filter { target & $0.mask == $0.destination }.max { $0.mask < $1.mask }?.interface
        }
        guard let target = ipv6(address) else { return nil }
        return routes6.filter { matches(target, $0) }.max { $0.length < $1.length }?.interface
    }

    private static func matches(_ target: [UInt8], _ route: Route6) -> Bool {
        for bit in 0..<route.length {
            let mask: UInt8 = 0x80 >> UInt8(bit % 8)
            if target[bit / 8] & mask != route.destination[bit / 8] & mask { return false }
        }
        return true
    }

    static func ipv4(_ text: String) -> UInt32? {
        // ::ffff:192.0.2.1 is IPv4 by another name.
        let plain = text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
        let parts = plain.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part) else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    static func ipv6(_ text: String) -> [UInt8]? {
        let address = text.split(separator: "%", omittingEmptySubsequences: false)[0]
        let halves = address.components(separatedByDoubleColon: ())
        guard halves.count <= 2 else { return nil }
        var groups: [[UInt16]] = []
        for half in halves {
            var list: [UInt16] = []
            for part in half.split(separator: ":", omittingEmptySubsequences: true) {
                guard part.utf8.count <= 4, let value = UInt16(part, radix: 16) else { return nil }
                list.append(value)
            }
            groups.append(list)
        }
        let known = groups.reduce(0) { $0 + $1.count }
        guard halves.count == 2 ? known < 8 : known == 8 else { return nil }
        let all = groups[0] + Array(repeating: 0, count: 8 - known) + (groups.count == 2 ? groups[1] : [])
        return all.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
    }

    /// Adds evidence to the functions below an interface: directly, or through what it is built on (bridge, bond, VLAN).
    private static func addChain(
        _ name: String,
        _ net: borrowing Directory,
        _ proof: UseEvidence,
        _ findings: inout UseFindings
    ) {
        var pending = [name]
        var seen = Set(pending)
        while let next = pending.popLast() {
            guard let path = net.link(next) else { continue }
            if findings.add(path: path, proof) { continue }
            guard let interface = Directory(in: net, name: next) else { continue }
            for entry in interface.names() where entry.hasPrefix("lower_") {
                let lower = String(entry.dropFirst(6))
                if seen.insert(lower).inserted { pending.append(lower) }
            }
        }
    }
}

extension Substring {
    /// The text cut at each `::`.
    fileprivate func components(separatedByDoubleColon: ()) -> [Substring] {
        var result: [Substring] = []
        var start = startIndex
        var i = startIndex
        while i < endIndex {
            let next = index(after: i)
            if self[i] == ":", next < endIndex, self[next] == ":" {
                result.append(self[start..<i])
                start = index(after: next)
                i = start
            } else {
                i = next
            }
        }
        result.append(self[start...])
        return result
    }
}
