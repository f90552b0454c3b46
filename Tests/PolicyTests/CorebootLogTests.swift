// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// coreboot's policy against lines of logs that owners of machines published. Only the requests whose places the lines
/// tell are put into the tree; what is placed later by the log does not change them.
@Suite("coreboot's layouts equal published logs")
struct CorebootLogTests {
    private func place(_ tree: SmallTree, _ policy: CorebootPolicy) throws -> PolicyOutcome {
        let demand = ResourceDemand(try tree.topology())
        let outcome = policy.allocate(demand)
        #expect(LayoutAudit(outcome, demand).violations.isEmpty)
        return outcome
    }

    private func first(_ outcome: PolicyOutcome, _ function: String, _ bar: Int) throws -> UInt64? {
        let entry = try #require(outcome.functions.first { $0.today.short == function })
        return try entry.range(#require(ResourceIndex.bar(bar)))?.first
    }

    /// github.com/Dasharo/coreboot/pull/402, Lenovo M900 Tiny: range 0x80000000-0xdfffffff, lowest first.
    @Test("memory of both kinds by falling alignment from the bottom")
    func bottomUp() throws {
        let tree = SmallTree(memory: [0x8000_0000...0xdfff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem64(16 << 20), .pref64(256 << 20)])
            $0.endpoint("00:04.0", bars: [.mem64(32 << 10)])
            $0.endpoint("00:14.0", bars: [.mem64(64 << 10)])
            $0.endpoint("00:1f.3", bars: [.mem64(16 << 10), .io(32), .io(32), .mem64(64 << 10)])
            $0.endpoint("00:1f.6", bars: [.mem32(128 << 10)])
        }
        let outcome = try place(tree, CorebootPolicy(isTopDown: false))
        #expect(try first(outcome, "00:02.0", 2) == 0x8000_0000)
        #expect(try first(outcome, "00:02.0", 0) == 0x9000_0000)
        #expect(try first(outcome, "00:1f.6", 0) == 0x9100_0000)
        #expect(try first(outcome, "00:14.0", 0) == 0x9102_0000)
        #expect(try first(outcome, "00:1f.3", 4) == 0x9103_0000)
        #expect(try first(outcome, "00:04.0", 0) == 0x9104_0000)
    }

    /// github.com/linuxboot/heads/pull/1923, ThinkPad T440p: I/O up to 0xdfff, from the top.
    @Test("I/O by falling alignment from the top")
    func topDown() throws {
        var tree = SmallTree(memory: [0x8300_0000...0xefff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem64(4 << 20), .pref64(256 << 20), .io(64)])
            $0.endpoint("00:19.0", bars: [.mem32(128 << 10), .mem32(4 << 10), .io(32)])
            $0.endpoint("00:1f.2", bars: [.io(8), .io(4), .io(8), .io(4), .io(32)])
        }
        tree.limitPorts(to: 0xdfff)
        let outcome = try place(tree, CorebootPolicy())
        #expect(try first(outcome, "00:02.0", 4) == 0xdfc0)
        #expect(try first(outcome, "00:19.0", 2) == 0xdfa0)
        #expect(try first(outcome, "00:1f.2", 4) == 0xdf80)
        #expect(try first(outcome, "00:1f.2", 0) == 0xdf78)
        #expect(try first(outcome, "00:1f.2", 2) == 0xdf70)
        #expect(try first(outcome, "00:1f.2", 1) == 0xdf6c)
        #expect(try first(outcome, "00:1f.2", 3) == 0xdf68)
    }

    /// github.com/MrChromebox/firmware/issues/652, Samsung Stumpy, root port 1c.3: pass 1 lays the larger BAR first and
    /// gives each window its granule; a window without requests stays closed.
    @Test("a window's contents by falling size at its start, the window rounded to its granule")
    func window() throws {
        let tree = SmallTree(memory: [0x8000_0000...0xdfff_ffff]) {
            let port = $0.port("00:1c.3")
            $0.endpoint("03:00.0", below: port, bars: [.io(256), .mem32(0x10), .pref64(4 << 10), .pref64(16 << 10)])
        }
        let outcome = try place(tree, CorebootPolicy(isTopDown: false))
        let port = try #require(outcome.functions.first { $0.today.short == "00:1c.3" })
        let pref = try #require(port.window(.prefetchableWindow))
        #expect(pref.size == 0x10_0000)
        #expect(port.window(.ioWindow)?.size == 0x1000)
        #expect(try first(outcome, "03:00.0", 4) == pref.first)
        #expect(try first(outcome, "03:00.0", 2) == pref.first + 0x4000)
    }

    /// github.com/MrChromebox/firmware/issues/582, a Chromebook with one root port: 8 KiB below it make 1 MiB, and the
    /// first I/O BAR lies at 0x1000.
    @Test("a small machine")
    func small() throws {
        let tree = SmallTree(memory: [0x7d00_0000...0xdfff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem64(16 << 20), .pref64(256 << 20), .io(64)])
            let port = $0.port("00:1c.2")
            $0.endpoint("02:00.0", below: port, bars: [.mem64(8 << 10)])
        }
        let outcome = try place(tree, CorebootPolicy(isTopDown: false))
        let port = try #require(outcome.functions.first { $0.today.short == "00:1c.2" })
        #expect(port.window(.memoryWindow)?.size == 0x10_0000)
        #expect(port.window(.prefetchableWindow) == nil)
        #expect(try first(outcome, "00:02.0", 4) == 0x1000)
    }
}
