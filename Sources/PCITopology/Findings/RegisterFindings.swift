// SPDX-License-Identifier: GPL-2.0-or-later

/// What is known about the distance between CPU addresses and bus addresses below one host bridge.
enum RegisterOffset {
    /// Every aperture states its own.
    case byAperture
    /// CPU and bus addresses are the same.
    case none
    /// Not known; registers cannot be compared with the kernel's addresses.
    case unknown
}

extension Topology {
    /// For each host bridge, how CPU addresses become bus addresses.
    ///
    /// Without the kernel log's word for it, equality is taken for granted where at least one BAR shows it.
    func registerOffsets() -> [RegisterOffset] {
        var offsets = hostBridges.map { $0.source == .kernelLog ? RegisterOffset.byAperture : .unknown }
        for i in functions.indices {
            let h = host(of: i)
            guard h >= 0, case .unknown = offsets[h], !functions[i].isVirtual else { continue }
            let agrees = functions[i].resources.contains { resource in
                guard let range = resource.range, !resource.isFixed else { return false }
                return addressInRegister(resource, of: i) == range.first
            }
            if agrees { offsets[h] = .none }
        }
        return offsets
    }

    /// Findings about registers of the function at index `i` that differ from what the kernel holds.
    ///
    /// Left out: ROMs (the kernel writes them on demand), VFs (their BARs read zero), fixed ranges, functions in a low
    /// power state, whose registers the kernel restores when they wake.
    func appendRegisterFindings(of i: Int, offsets: [RegisterOffset], to result: inout [Finding]) {
        let function = functions[i]
        let h = host(of: i)
        guard h >= 0, !function.isVirtual, !function.isCardBus, function.config.hasHeader, !isAsleep(function),
            function.knowledge.registers != .unseen
        else { return }
        if let bridge = function.bridge, let registers = bridge.registers, let range = bridge.busRange,
            registers.secondary != range.first || registers.subordinate != range.last
        {
            result.append(
                Finding(
                    .registersDiffer,
                    // A port that leads nowhere harms nobody by not forwarding.
                    children(of: i).isEmpty ? .note : .problem,
                    at: function.address,
                    "the kernel holds \(range), the registers say secondary \(registers.secondary), "
                        + "subordinate \(registers.subordinate)"
                )
            )
        }
        let command = function.config.command ?? []
        for resource in function.resources where !resource.isFixed {
            let isOn = command.contains(resource.flags.contains(.io) ? .ioSpace : .memorySpace)
            if resource.index.isWindow {
                compareWindow(resource, of: i, offset: offsets[h], isOn: isOn, to: &result)
            } else if let range = resource.range, let register = addressInRegister(resource, of: i) {
                // A register of zeros holds no address, whatever lies between CPU and bus addresses; that it may be the bus
                // address 0 makes a note of it.
                let known = busAddress(of: range, host: h, offset: offsets[h])
                guard let expected = known ?? (register == 0 && range.first != 0 ? range : nil),
                    register != expected.first
                else { continue }
                // An IDE interface in compatibility mode decodes the legacy ports without registers.
                if register == 0, function.identity.classWord == 0x0101, resource.kind == .io { continue }
                // A function that sleeps may read zero, and the power state is not among the first 64 bytes.
                let mayBeAsleep =
                    register == 0 && (function.capabilities.standard.isEmpty || isPutTogetherFromText)
                result.append(
                    Finding(
                        .registersDiffer,
                        isOn && !mayBeAsleep && known != nil ? .problem : .note,
                        at: function.address,
                        resource: resource.index,
                        "\(resource.index): the kernel holds \(hex(expected.first)), the register says \(hex(register))"
                            + (isOn ? "" : ", decoding is off")
                    )
                )
            }
        }
    }

    private func compareWindow(
        _ window: Resource,
        of i: Int,
        offset: RegisterOffset,
        isOn: Bool,
        to result: inout [Finding]
    ) {
        guard let registers = functions[i].bridge?.registers else { return }
        let register: WindowRegister
        switch window.index {
        case .ioWindow: register = registers.io
        case .memoryWindow: register = registers.memory
        case .prefetchableWindow: register = registers.prefetchable
        default: return
        }
        let shown = register.range
        if let range = window.range {
            guard let expected = busAddress(of: range, host: host(of: i), offset: offset) else { return }
            let end = windowEnd(expected.last, isIO: window.index == .ioWindow)
            guard shown?.first != expected.first || shown?.last != end else { return }
            result.append(
                Finding(
                    .registersDiffer,
                    isOn ? .problem : .note,
                    at: functions[i].address,
                    resource: window.index,
                    "\(window.index): the kernel holds \(expected), the registers say "
                        + (shown?.description ?? "closed") + (isOn ? "" : ", decoding is off")
                )
            )
        } else if window.shownRange == nil, let shown, shown.first != 0, isOn {
            // Base 0 is how a bridge comes out of reset, and how an unimplemented window reads.
            result.append(
                Finding(
                    .registersDiffer,
                    .note,
                    at: functions[i].address,
                    resource: window.index,
                    "\(window.index): the kernel holds it closed, the registers forward \(shown)"
                )
            )
        }
    }

    private func busAddress(of range: AddressRange, host h: Int, offset: RegisterOffset) -> AddressRange? {
        switch offset {
        case .none: return range
        case .unknown: return nil
        case .byAperture:
            guard let aperture = hostBridges[h].apertures.first(where: { $0.range.contains(range) }),
                aperture.offset != .min
            else { return nil }
            return range.shifted(by: -aperture.offset)
        }
    }

    /// Whether the power management capability says D1, D2 or D3 (PCI Power Management 1.2 §3.2.4).
    func isAsleep(_ function: Function) -> Bool {
        guard let power = function.capabilities.standard.first(where: { $0.id == 1 }) else { return false }
        return (function.config.word(Int(power.offset) + 4) ?? 0) & 3 != 0
    }
}

extension Function {
    /// Whether this is a CardBus bridge (header layout 2), whose registers beyond the first BAR are laid out otherwise.
    var isCardBus: Bool { identity.classWord == 0x0607 || config.headerLayout == 2 }
}
