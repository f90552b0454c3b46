// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import PlanExecutor

@Suite("Registers against the kernel's tree")
struct RegisterCheckTests {
    @Test("a VF answers with ids of all ones and is there all the same; a function of all ones alone is not")
    func silence() {
        var state = Fake.machine().tree
        let i = state.functions.firstIndex { $0.busRange == nil } ?? 0
        state.functions[i].lines = Array(repeating: .zero, count: 13)
        let address = state.functions[i].address
        func sentences(_ config: ConfigSpace) -> [String] {
            let health = [FunctionHealth(address: address, driver: nil, config: config)]
            return RegisterCheck(state, health).differences(state, health).map(\.sentence)
        }
        var virtual = ConfigSpace(Array(repeating: 0, count: 256))
        virtual.write(0xffff_ffff, at: 0, width: 4)
        #expect(sentences(virtual) == [])
        #expect(
            sentences(ConfigSpace(Array(repeating: 0xff, count: 256)))
                == ["\(address) expected to answer, found all ones"]
        )
        #expect(sentences(ConfigSpace()) == ["\(address) expected to answer, found all ones"])
    }
}
