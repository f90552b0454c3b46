// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import Glibc
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// What `apply` and `recover` share: the live machine, progress, and the way from a report to an exit status.
struct Execution {
    var output: OutputOptions
    var probe: Bool
    var planning: PlanningOptions?

    /// An applier of the running machine.
    var applier: Applier { applier(observer) }

    /// An applier that sees the machine through `observer`.
    func applier(_ observer: SysfsObserver) -> Applier {
        var applier = Applier(machine: Machine(writer: LiveSystemWriter(), observer: observer))
        applier.hooks = HookDirectory()
        return applier
    }

    /// Sees the running machine.
    var observer: SysfsObserver {
        let allowed = Set(planning?.allowDisturb ?? [])
        return SysfsObserver(uses: {
            let reader = LiveReader(options: LiveReader.Options(readsKernelLog: false))
            return Self.protections(try TopologyAssembler(try reader.read()).topology(), except: allowed)
        })
    }

    /// The reasons for which functions must not be stopped, by address.
    static func protections(
        _ topology: Topology,
        except allowed: Set<FunctionAddress> = []
    ) -> [FunctionAddress: [UseEvidence]] {
        var result: [FunctionAddress: [UseEvidence]] = [:]
        for function in topology.functions where !allowed.contains(function.address) {
            let reasons = function.use.evidence.filter(\.isProtected)
            if !reasons.isEmpty { result[function.address] = reasons }
        }
        return result
    }

    /// Runs `body`, tells what happens, and ends with the status of its report.
    func report(_ body: (Applier, @escaping (ApplyEvent) -> Void) throws -> ApplyReport) throws {
        Cancellation.listen()
        let output = output
        let report = try guarded {
            try body(applier) { event in
                Self.write(event, output)
            }
        }
        guard let status = ExitStatus(rawValue: report.exitStatus), status != .success else { return }
        throw CommandEnd(status)
    }

    /// Runs `body` and turns what the executor's seams throw into an end of the command.
    func guarded<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as JournalError {
            throw CommandEnd(error.code == .notPermitted ? .notPermitted : .failure, error.description)
        } catch let error as ApplyLockError {
            throw CommandEnd(error.isBusy ? .busy : .failure, error.description)
        } catch let error as ObservationError {
            throw CommandEnd(.unavailable, error.description)
        }
    }

    /// The twin's knowledge of this machine.
    ///
    /// - Parameters:
    ///   - initial: the machine before the first write, or nil when it is not known.
    ///   - wish: what another plan may be made for; nil when nobody agreed to another one.
    ///   - log: the kernel's log, or nil.
    /// - Returns: the predictor, with the behaviour that a plan for this kernel takes.
    static func predictor(
        _ initial: Topology?,
        wish: (goals: [Goal], constraints: Constraints)? = nil,
        log: [String]? = nil
    ) -> TwinPredictor {
        let release = initial?.kernel.release ?? (try? SysfsObserver(uses: { [:] }).kernelRelease()) ?? ""
        var evidence = BehaviourEvidence(forRelease: release)
        if let initial { evidence = KernelChoice.evidence(for: initial, isLive: true, log: log, isQuiet: true) }
        return TwinPredictor(
            initial: initial,
            behaviours: evidence.left,
            readTopology: { try TopologyAssembler(try LiveReader().read()).topology() },
            wish: wish
        )
    }

    /// Writes one event: a line of JSON, or lines for a person; quiet leaves only the end.
    ///
    /// A reader that is gone, or a full disk, must not end an apply: nothing is thrown.
    static func write(_ event: ApplyEvent, _ output: OutputOptions) {
        if output.json { return StandardOutput.offer(event.json) }
        if case .ends = event {
            StandardOutput.offer(Array("\(event)\n".utf8))
        } else if !output.quiet {
            StandardOutput.offer(Array("\(event)\n".utf8))
        }
    }
}

/// Whether somebody asked to stop, by a signal that ends a process. An apply then goes back.
enum Cancellation {
    // Written by a signal handler: an aligned word, set once.
    nonisolated(unsafe) private static var asked: sig_atomic_t = 0

    /// The signals whose default is to end the process.
    private static let ends = [
        SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGPWR, SIGIO,
    ]
    /// The signals whose default is to stop it: in the middle of a plan devices would stay removed until it goes on.
    private static let stops = [SIGTSTP, SIGTTIN, SIGTTOU]

    /// Lets the signals ask instead of killing, and nothing but SIGSTOP stop. What whoever started the program had it
    /// ignore (nohup) stays ignored.
    static func listen() {
        for number in ends {
            var old = sigaction()
            guard sigaction(number, nil, &old) == 0 else { continue }
            let isIgnored = unsafeBitCast(old.__sigaction_handler.sa_handler, to: Int.self) == 1
            if !isIgnored { signal(number) { _ in Cancellation.asked = 1 } }
        }
        for number in stops { signal(number, SIG_IGN) }
    }

    /// Whether a signal came.
    static func isAsked() -> Bool { asked != 0 }
}

/// A question on the terminal.
enum Confirmation {
    /// Asks; false when there is no terminal or the answer is not y.
    static func ask(_ question: String) -> Bool {
        guard isatty(STDIN_FILENO) == 1 else { return false }
        Diagnostics.text("\(question) [y/N] ")
        let answer = readLine(strippingNewline: true)?.lowercased() ?? ""
        return answer == "y" || answer == "yes"
    }
}
