// SPDX-License-Identifier: GPL-2.0-or-later

/// What firmware had left in the registers of the functions that the kernel found at boot, before it assigned anything.
///
/// The next boot starts from there again, as long as firmware and hardware stay the same; the registers of the running
/// machine show what the kernel made of it.
public struct FirmwareState: Hashable, Sendable {
    /// The registers of one function. Addresses are CPU addresses.
    public struct Registers: Hashable, Sendable {
        /// The addresses in the BARs and VF BARs that are implemented; 0 where firmware left none.
        public var bars: [ResourceIndex: UInt64] = [:]
        /// The windows that are open.
        public var windows: [ResourceKind: AddressRange] = [:]
        /// Secondary and subordinate bus number, in any order; nil when the function is no bridge.
        public var buses: (secondary: BusNumber, subordinate: BusNumber)? {
            get { numbers.map { ($0.first, $0.last) } }
            set { numbers = newValue.map { Numbers(first: $0.secondary, last: $0.subordinate) } }
        }

        private struct Numbers: Hashable {
            var first: BusNumber
            var last: BusNumber
        }

        private var numbers: Numbers?

        /// Creates registers that say nothing.
        public init() {}
    }

    /// The functions that were there.
    public var functions: [FunctionAddress: Registers]

    /// Creates the state of `functions`.
    public init(_ functions: [FunctionAddress: Registers] = [:]) { self.functions = functions }
}
