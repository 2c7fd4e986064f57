// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Somebody who trades through a contract: it calls the auction again while it is paid, or refuses to be paid
contract AuctionAttacker {
    bytes private _again;
    bool public refuses;
    bool public reentered;

    function act(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool done, bytes memory answer) = target.call{value: msg.value}(data);
        if (!done) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    function prepare(bytes calldata again, bool refuses_) external {
        _again = again;
        refuses = refuses_;
    }

    receive() external payable {
        require(!refuses);
        if (_again.length != 0) (reentered,) = msg.sender.call(_again);
    }
}
