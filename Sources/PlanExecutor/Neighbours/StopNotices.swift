// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Tells the administrator's hooks of the functions that an apply stops, so that a service can let go of its device
/// before and take it back after.
///
/// Every hook hears of every function in address order, bridges excepted: these nobody uses but through what is below
/// them. Before the first write each of them can refuse. After the end each hears of the function where it is then, and
/// nothing that a hook does changes how the apply ended.
struct StopNotices {
    let run: ApplyRun
    let hooks: any StopHooks
    let plan: Plan
    /// How the functions were before the apply.
    let records: [HealthRecord]

    /// Asks before anything is written.
    ///
    /// - Returns: why nothing must be stopped, a slug and a sentence; nil when nobody minds.
    func before(_ isCancelled: () -> Bool) -> (reason: String, sentence: String)? {
        do {
            let programs = try hooks.programs()
            let start = run.clock.now()
            for function in stopped where !programs.isEmpty {
                let notice = notice(.before, function, function)
                for program in programs {
                    // The apply itself stops at its first write then.
                    if isCancelled() { return nil }
                    let end = call(program, notice, since: start)
                    guard end.result != .done else { continue }
                    return (
                        "vetoed", "the hook \(program) does not let \(function.address) be stopped: \(end.detail)"
                    )
                }
            }
            return nil
        } catch {
            return ("unsafe-hook", "\(error)")
        }
    }

    /// Tells how it ended; called again when a recovery ends what a crash has interrupted.
    func after(_ report: ApplyReport) {
        guard let programs = try? hooks.programs(), !programs.isEmpty,
            let now = report.after ?? (try? run.machine.observer.tree())
        else { return }
        let start = run.clock.now()
        let present = Dictionary(FunctionPairs(plan.before, now).pairs.map { ($0.before.address, $0.now) }) { a, _ in a
        }
        for function in stopped {
            let found = present[function.address] ?? nil
            var notice = notice(.after, function, found ?? function)
            notice.isPresent = found != nil
            notice.result = report.verdict.rawValue
            for program in programs {
                let end = call(program, notice, since: start)
                if end.result != .done { run.remark("the hook \(program) after \(notice.address): \(end.detail)") }
            }
        }
    }

    private var stopped: [FunctionState] { PlanSafety.stopped(by: plan).filter { $0.busRange == nil } }

    private func call(_ program: String, _ notice: HookNotice, since start: Duration) -> HookEnd {
        let begin = run.clock.now()
        let left = run.limits.allHooksLimit - (begin - start)
        let end =
            left > .zero
            ? hooks.run(program, notice, within: min(run.limits.hookLimit, left))
            : HookEnd(
                .timedOut,
                detail: "all hooks together took longer than \(run.limits.allHooksLimit.wholeMilliseconds) ms"
            )
        run.progress(.hook(program, notice, end, took: run.clock.now() - begin))
        return end
    }

    private func notice(_ phase: HookNotice.Phase, _ before: FunctionState, _ now: FunctionState) -> HookNotice {
        let driver = records.first { $0.address == before.address }?.driver
        return HookNotice(
            phase: phase,
            apply: run.id,
            address: now.address,
            oldAddress: before.address,
            path: now.path,
            driver: driver.flatMap { WriteRules.isDriverName($0) ? $0 : nil }
        )
    }
}
