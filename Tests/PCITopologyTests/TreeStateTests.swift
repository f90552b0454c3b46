// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// What two states of a tree have in common, and what is left to compare.
@Suite("States of a tree")
struct TreeStateTests {
    private func function(segment: Int, device: Int, start: UInt64) -> FunctionState {
        FunctionState(
            address: at("000\(segment):00:0\(device).0"),
            path: TopologyPath(segment: UInt32(segment), rootBus: BusNumber(0), hops: [UInt8(device << 3)]),
            ids: 0x8086_0001,
            lines: [ResourceLine(start: start, end: start + 0xfff, flags: [.memory])],
            busRange: nil
        )
    }

    /// Every state of two segments with up to three functions each that are absent, or at one of two places.
    private var states: [TreeState] {
        (0..<729).map { number in
            var rest = number
            var functions: [FunctionState] = []
            for slot in 0..<6 {
                if rest % 3 > 0 {
                    functions.append(
                        function(segment: slot / 3, device: slot % 3, start: UInt64(rest % 3) << 20)
                    )
                }
                rest /= 3
            }
            return TreeState(functions)
        }
    }

    @Test("the parts that differ hold every difference, and begin and end with one")
    func differingParts() {
        let states = states
        for number in 0..<4_000 {
            let one = states[number % 729]
            let other = states[number * 7_919 % 729]
            let parts = TreeState.differingParts(one, other)
            #expect(
                TreeState(parts.one).differences(from: TreeState(parts.other)) == one.differences(from: other)
            )
            if one == other { #expect(parts.one.isEmpty && parts.other.isEmpty) }
            for segment in UInt32(0)...1 {
                let mine = parts.one.filter { $0.address.segment == segment }
                let theirs = parts.other.filter { $0.address.segment == segment }
                #expect(mine.isEmpty || mine.first != theirs.first)
                #expect(mine.isEmpty || mine.last != theirs.last)
            }
        }
    }

    @Test("a function is found by its address, in its own segment")
    func byAddress() {
        for state in states {
            for segment in 0...2 {
                for device in 0..<4 {
                    let address = at("000\(segment):00:0\(device).0")
                    #expect(state[address] == state.functions.first { $0.address == address })
                }
            }
        }
    }
}
