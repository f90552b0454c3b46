// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import TestSupport
internal import VMLaboratory

/// A trial under way.
struct TrialRun {
    let trial: Trial
    let guest: VirtualMachine
    var outcome = Trial.Outcome()
    private var places: Places
    private var chance: SplitMix64
    private var chooser: ActionChooser?
    /// Ports behind which something was plugged that QEMU can be asked to take out.
    private var ejectable: Set<String> = []

    private let isJudged: Bool

    init(_ trial: Trial, _ guest: VirtualMachine, isJudged: Bool) {
        self.isJudged = isJudged
        self.trial = trial
        self.guest = guest
        places = trial.places
        chance = SplitMix64(state: 7)
        if case .random(let seed, _) = trial.plan {
            chooser = ActionChooser(seed: seed, machine: trial.machine)
            chance = SplitMix64(state: seed ^ 0x4e4e)
        }
    }

    mutating func run() throws {
        try prepare()
        try guest.waitUntilQuiet()
        let record = try GuestRecord(guest)
        let start = try record.topology()
        var found = try GuestState(guest)
        if trial.keepsRecording { outcome.recording = Trial.Recording(start: record.record, states: [found.text]) }
        var twin = try LinuxTwin(start, behaviour: trial.kernel.behaviour)
        guard compare(found, try GuestState(twin), .reading, []) else { return }
        if let dump = record.firmware {
            let (booted, events) = try Self.boot(start, dump, trial.kernel.behaviour)
            outcome.bootsCompared = 1
            outcome.recording?.firmware = dump
            guard compare(found, try GuestState(booted), .boot, events) else { return }
            // From here on the twin knows what a reading does not show.
            twin = booted
        }
        // What the firmware gave no bus number nobody knows of; numbers that are written later would bring it to light.
        guard places.paths.count == Scene(start, places).names.count else {
            outcome.hidden = 1
            return
        }
        var number = 0
        while let step = nextStep(number, Scene(try twin.topology(), places)) {
            number += 1
            let scene = Scene(try twin.topology(), places)
            let effects = step.compactMap { $0.effects(scene, trial.machine) }
            guard effects.count == step.count else {
                outcome.skipped += 1
                continue
            }
            trial.report?(step)
            outcome.steps.append(step)
            var second: LinuxTwin?
            // A record shows only what the kernel knows; with something removed it is not the whole machine.
            if twin.unknownFunctionCount == 0, chance.happens(trial.rereadPercent) {
                second = try LinuxTwin(try GuestRecord(guest).topology(), behaviour: trial.kernel.behaviour)
                try second?.perform(.setAutoprobe(twin.probesDrivers))
                outcome.rereads += 1
            }
            var events: [TwinEvent] = []
            for effect in effects {
                for operation in effect.operations {
                    events += try twin.perform(operation)
                    try second?.perform(operation)
                }
                try carryOut(effect)
            }
            note(step)
            // Where the twin itself says that the kernel's state makes no sense any more, there is nothing to compare.
            if events.contains(where: \.isFault) {
                outcome.faults += 1
                return
            }
            found = try settled(effects, GuestState(twin))
            outcome.recording?.states.append(found.text)
            guard compare(found, try GuestState(twin), .step, events) else { return }
            if let second, !compare(found, try GuestState(second), .reread, events) { return }
        }
    }

    /// Gives the laboratory's own driver to controllers with VFs.
    private func prepare() throws {
        guard trial.machine.hasVirtualFunctions else { return }
        let script = "modprobe pci-pf-stub && echo 1b36 0010 >/sys/bus/pci/drivers/pci-pf-stub/new_id"
        _ = try guest.run(script).checked()
    }

    private mutating func nextStep(_ number: Int, _ scene: Scene) -> [Action]? {
        switch trial.plan {
        case .fixed(let steps): return number < steps.count ? steps[number] : nil
        case .random(_, let count): return number < count ? chooser?.next(scene, ejectable: ejectable) : nil
        }
    }

    private func carryOut(_ effect: Effects) throws {
        if let (devices, bus) = effect.plugged {
            for device in devices { try guest.deviceAdd(device, behind: bus) }
        }
        if let name = effect.ejected { try guest.deviceDel(name) }
        // What the kernel refuses shows in what it holds afterwards.
        if let script = effect.script { _ = try guest.run(script) }
        if effect.isSlow { try guest.waitUntilQuiet() }
    }

    /// The guest's state; where a driver's thread may still be at work, once it has come to agree or time is up.
    private func settled(_ effects: [Effects], _ expected: @autoclosure () throws -> GuestState) throws -> GuestState {
        var found = try GuestState(guest)
        guard effects.contains(where: \.isSlow) else { return found }
        let wanted = try expected()
        for _ in 0..<3 where !found.differences(from: wanted).isEmpty {
            try guest.waitUntilQuiet(settle: .seconds(1))
            found = try GuestState(guest)
        }
        return found
    }

    private mutating func note(_ step: [Action]) {
        for action in step {
            places.note(action)
            switch action {
            case .plug(_, let port): ejectable.insert(port)
            case .eject(let port), .powerOff(let port): ejectable.remove(port)
            default: break
            }
        }
    }

    /// The twin of the machine as the firmware left it, started.
    static func boot(
        _ start: Topology,
        _ dump: EarlyDump,
        _ behaviour: KernelBehaviour
    ) throws -> (LinuxTwin, [TwinEvent]) {
        var twin = try LinuxTwin(start, behaviour: behaviour)
        for function in start.functions where !function.isVirtual {
            guard let config = dump.config(of: function) else { continue }
            try twin.loadRegisters(of: function.address, from: config)
        }
        let events = try twin.perform(.boot(twin.platform))
        return (twin, events)
    }

    /// Compares; false, and noted, when there is a difference.
    private mutating func compare(
        _ found: GuestState,
        _ predicted: GuestState,
        _ stage: Trial.Mismatch.Stage,
        _ events: [TwinEvent]
    ) -> Bool {
        outcome.compared += found.size
        guard isJudged else { return true }
        let differences = found.differences(from: predicted)
        guard !differences.isEmpty else { return true }
        let log = (try? guest.kernelLog())?.filter { $0.contains("pci") }.suffix(stage == .boot ? 400 : 120) ?? []
        outcome.mismatch = Trial.Mismatch(
            stage: stage,
            differences: differences,
            events: events,
            log: Array(log)
        )
        return false
    }
}

extension MachineTopology {
    /// Whether any device can have VFs.
    var hasVirtualFunctions: Bool {
        func has(_ device: Device) -> Bool {
            device.properties.contains { $0.name == "sriov_max_vfs" } || device.children.contains(where: has)
        }
        return devices.contains(where: has) || machineArguments.contains { $0.contains("sriov_max_vfs") }
    }
}

extension TwinEvent {
    fileprivate var isFault: Bool {
        if case .fault = self { return true }
        return false
    }
}
