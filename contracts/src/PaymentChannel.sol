// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title PaymentChannel: many small purchases, two transactions (thesis, section 5.5)
/// @notice A consumer escrows money for one producer. After each purchase it signs the total due so far and hands that
///         to the producer off the chain; the producer closes with the last of these and the rest returns.
/// @notice Invariant: the contract's balance is the sum of what all open channels hold (deposit less claimed) and of all
///         money kept for parties that did not take it, to the wei (money forced on the contract past its functions, such
///         as a block reward, can only add to it). Out of a channel the producer gets exactly the greatest total that it
///         presented, never more than the consumer signed or deposited; the consumer gets the rest. A deposit only grows
///         and a validity only lengthens while a channel is open, so a payment that was good stays good until then.
/// @dev There is no administrator. Channels have numbers that are never used again. What is signed names the channel, the
///      producer, this contract and the chain, so it counts nowhere else; the producer is in it for the case that blocks
///      are replaced and a number goes to another channel. A closed channel leaves nothing in storage.
///
///      Nobody is made to wait for another's money: who cannot be paid within PAYOUT_GAS has the money kept here.
contract PaymentChannel is ReentrancyGuardTransient {
    /// @dev Two slots; a third one from the first partial claim on.
    struct Channel {
        address consumer;
        uint96 depositWei;
        address producer;
        uint48 validUntil;
        uint96 claimedWei;
    }

    enum Status {
        Unknown,
        Open,
        Closed
    }

    /// @notice A consumer escrowed depositWei for a producer.
    /// @param validUntil Unix time in s from which the consumer may close alone
    event Opened(
        uint256 indexed channel,
        address indexed consumer,
        address indexed producer,
        uint256 depositWei,
        uint256 validUntil
    );
    /// @notice The consumer added amountWei; depositWei is all that was ever put into the channel.
    event ToppedUp(uint256 indexed channel, uint256 amountWei, uint256 depositWei);
    event Extended(uint256 indexed channel, uint256 validUntil);
    /// @notice The producer took amountWei out of the open channel, totalWei in all.
    event Claimed(uint256 indexed channel, address indexed producer, uint256 amountWei, uint256 totalWei);
    /// @notice The channel's money is distributed: totalWei in all to the producer, returnedWei to the consumer.
    /// @param closer the party that closed it
    event Closed(
        uint256 indexed channel,
        address indexed consumer,
        address indexed producer,
        address closer,
        uint256 totalWei,
        uint256 returnedWei
    );
    /// @notice The party did not take amountWei; it can be withdrawn.
    event Kept(address indexed party, uint256 amountWei);
    event Withdrawn(address indexed party, address indexed to, uint256 amountWei);

    error ZeroAddress();
    error ProducerIsConsumer(address consumer);
    error AmountZero();
    error DepositTooLarge(uint256 depositWei, uint256 maximumWei);
    /// @dev The end must lie after the present and within the longest validity, `latest`.
    error ValidityInvalid(uint256 validUntil, uint256 presentTime, uint256 latestTime);
    error ValidityNotLonger(uint256 channel, uint256 validUntil, uint256 presentValidUntil);
    error ChannelUnknown(uint256 channel, uint256 channels);
    error ChannelClosed(uint256 channel);
    error NotConsumer(uint256 channel, address caller);
    error NotProducer(uint256 channel, address caller);
    error StillValid(uint256 channel, uint256 validUntil, uint256 presentTime);
    error SignatureInvalid(uint256 channel, address signer);
    error TotalAboveDeposit(uint256 channel, uint256 totalWei, uint256 depositWei);
    /// @dev A total that is claimed already, or less.
    error NothingToClaim(uint256 channel, uint256 totalWei, uint256 claimedWei);
    error TotalBelowClaimed(uint256 channel, uint256 totalWei, uint256 claimedWei);
    error NothingKept(address party);
    error WithdrawalFailed(address to, uint256 amountWei);
    /// @dev The transaction's gas would not reach for a payment.
    error GasTooLow(uint256 gasLeft, uint256 neededGas);

    /// @notice Longest time from now to the end of a validity, in s: a year. Later is a mistake, such as milliseconds, and
    ///         would lock the consumer's money; a channel can be extended again and again.
    uint256 public constant MAX_VALIDITY_S = 366 days;
    /// @notice Greatest deposit of a channel, in wei: some 79 thousand million WATT.
    uint256 public constant MAX_DEPOSIT_WEI = type(uint96).max;
    /// @notice Gas for a party to take its money, in gas: enough for a wallet contract that logs it, and little enough
    ///         that a party which burns it all cannot make the other's closing expensive.
    uint256 public constant PAYOUT_GAS = 50_000;
    /// @dev For the call itself (9,000 for its value, 2,600 for a cold account, a 64th that stays here), also to an account
    ///      that does not exist yet (25,000), and to keep the money where it is refused (22,100 and an event).
    uint256 private constant PAYOUT_RESERVE_GAS = 65_000;

    /// @notice keccak256 of the type that a consumer signs: the total due up to now, in wei.
    bytes32 public constant PAYMENT_TYPE_HASH = keccak256("Payment(uint256 channel,address producer,uint256 totalWei)");
    /// @notice keccak256 of the type that a producer signs where the consumer is to close before the validity ends.
    bytes32 public constant CLOSING_TYPE_HASH = keccak256("Closing(uint256 channel,address consumer,uint256 totalWei)");
    bytes32 private constant DOMAIN_TYPE_HASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain PaymentChannel");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// @notice Number of channels ever opened; they are numbered from 1.
    uint256 public channelCount;
    mapping(uint256 channel => Channel) private _channels;
    /// @notice Money that a party did not take when it was paid, in wei.
    mapping(address party => uint256) public keptWei;

    /// @notice Escrows the value for a producer. The caller must have a key that can sign: payments of a contract do not
    ///         exist.
    /// @param producer who is to be paid
    /// @param validUntil Unix time in s: until then only the producer can close, and should
    /// @return channel its number
    function open(address producer, uint256 validUntil) external payable returns (uint256 channel) {
        if (producer == address(0)) revert ZeroAddress();
        if (producer == msg.sender) revert ProducerIsConsumer(msg.sender);
        if (msg.value == 0) revert AmountZero();
        if (msg.value > MAX_DEPOSIT_WEI) revert DepositTooLarge(msg.value, MAX_DEPOSIT_WEI);
        _checkValidity(validUntil);
        channel = ++channelCount;
        _channels[channel] = Channel({
            consumer: msg.sender,
            depositWei: uint96(msg.value),
            producer: producer,
            validUntil: uint48(validUntil),
            claimedWei: 0
        });
        emit Opened(channel, msg.sender, producer, msg.value, validUntil);
    }

    /// @notice Adds the value to the deposit. By the consumer.
    function topUp(uint256 channel) external payable {
        Channel storage stored = _openOfConsumer(channel);
        if (msg.value == 0) revert AmountZero();
        uint256 deposit = uint256(stored.depositWei) + msg.value;
        if (deposit > MAX_DEPOSIT_WEI) revert DepositTooLarge(deposit, MAX_DEPOSIT_WEI);
        stored.depositWei = uint96(deposit);
        emit ToppedUp(channel, msg.value, deposit);
    }

    /// @notice Lengthens the validity, also of a channel whose validity is over. By the consumer.
    /// @param validUntil Unix time in s, later than the present end
    function extend(uint256 channel, uint256 validUntil) external {
        Channel storage stored = _openOfConsumer(channel);
        if (validUntil <= stored.validUntil) revert ValidityNotLonger(channel, validUntil, stored.validUntil);
        _checkValidity(validUntil);
        stored.validUntil = uint48(validUntil);
        emit Extended(channel, validUntil);
    }

    /// @notice Takes what a payment is worth beyond what was taken before, and leaves the channel open. By the producer.
    /// @param totalWei the total due that the consumer signed
    /// @param r the consumer's signature over the payment in the short form of ERC-2098
    /// @param vs its second half
    function claim(uint256 channel, uint256 totalWei, bytes32 r, bytes32 vs) external nonReentrant {
        Channel storage stored = _openOfProducer(channel);
        uint256 claimed = stored.claimedWei;
        if (totalWei <= claimed) revert NothingToClaim(channel, totalWei, claimed);
        _checkPayment(channel, stored, totalWei, r, vs);
        stored.claimedWei = uint96(totalWei);
        emit Claimed(channel, msg.sender, totalWei - claimed, totalWei);
        _pay(msg.sender, totalWei - claimed);
    }

    /// @notice Takes what the last payment is worth and returns the rest to the consumer. By the producer, at any time:
    ///         also after the validity, as long as the consumer has not closed.
    function close(uint256 channel, uint256 totalWei, bytes32 r, bytes32 vs) external nonReentrant {
        Channel storage stored = _openOfProducer(channel);
        _checkPayment(channel, stored, totalWei, r, vs);
        _close(channel, stored, totalWei);
    }

    /// @notice Returns all that was not claimed yet to the consumer. By the producer, who needs no payment for it.
    function release(uint256 channel) external nonReentrant {
        Channel storage stored = _openOfProducer(channel);
        _close(channel, stored, stored.claimedWei);
    }

    /// @notice Closes before the validity ends, as the producer has agreed. By the consumer.
    /// @param totalWei what the producer is to have had in all
    /// @param r the producer's signature over the closing in the short form of ERC-2098
    /// @param vs its second half
    function closeTogether(uint256 channel, uint256 totalWei, bytes32 r, bytes32 vs) external nonReentrant {
        Channel storage stored = _openOfConsumer(channel);
        if (totalWei > stored.depositWei) revert TotalAboveDeposit(channel, totalWei, stored.depositWei);
        bytes32 hash = closingHash(channel, msg.sender, totalWei);
        _checkSigner(channel, stored.producer, hash, r, vs);
        _close(channel, stored, totalWei);
    }

    /// @notice Returns all that was not claimed to the consumer. By the consumer alone, once the validity is over.
    function closeExpired(uint256 channel) external nonReentrant {
        Channel storage stored = _openOfConsumer(channel);
        if (block.timestamp < stored.validUntil) revert StillValid(channel, stored.validUntil, block.timestamp);
        _close(channel, stored, stored.claimedWei);
    }

    /// @notice Pays out what was kept for the caller.
    /// @param to receiver; a contract may refuse, then nothing happens
    function withdraw(address payable to) external nonReentrant {
        if (to == address(0)) revert ZeroAddress();
        uint256 amount = keptWei[msg.sender];
        if (amount == 0) revert NothingKept(msg.sender);
        keptWei[msg.sender] = 0;
        emit Withdrawn(msg.sender, to, amount);
        if (!LowLevelCall.callNoReturn(to, amount, "")) revert WithdrawalFailed(to, amount);
    }

    /// @notice What is known of a channel; all but the status is zero where it is not open.
    /// @return status Unknown: never opened; Closed: it was once
    /// @return consumer who pays
    /// @return producer who is paid
    /// @return depositWei all that was put in
    /// @return claimedWei what the producer has taken out of it
    /// @return validUntil Unix time in s from which the consumer may close alone
    function channelOf(uint256 channel)
        external
        view
        returns (
            Status status,
            address consumer,
            address producer,
            uint256 depositWei,
            uint256 claimedWei,
            uint256 validUntil
        )
    {
        Channel memory stored = _channels[channel];
        if (stored.consumer != address(0)) status = Status.Open;
        else if (channel != 0 && channel <= channelCount) status = Status.Closed;
        return (status, stored.consumer, stored.producer, stored.depositWei, stored.claimedWei, stored.validUntil);
    }

    /// @notice What a consumer signs after a purchase (EIP-712).
    function paymentHash(uint256 channel, address producer, uint256 totalWei) public view returns (bytes32) {
        return _typedDataHash(keccak256(abi.encode(PAYMENT_TYPE_HASH, channel, producer, totalWei)));
    }

    /// @notice What a producer signs that agrees to an early closing (EIP-712).
    function closingHash(uint256 channel, address consumer, uint256 totalWei) public view returns (bytes32) {
        return _typedDataHash(keccak256(abi.encode(CLOSING_TYPE_HASH, channel, consumer, totalWei)));
    }

    function _close(uint256 channel, Channel storage stored, uint256 totalWei) private {
        Channel memory last = stored;
        if (totalWei < last.claimedWei) revert TotalBelowClaimed(channel, totalWei, last.claimedWei);
        uint256 returned = last.depositWei - totalWei;
        delete _channels[channel];
        emit Closed(channel, last.consumer, last.producer, msg.sender, totalWei, returned);
        _pay(last.producer, totalWei - last.claimedWei);
        _pay(last.consumer, returned);
    }

    /// @dev The last thing that a function does: the state is settled before anybody else's code runs. Neither the gas
    ///      that the party burns nor what it returns can stop the caller, and the caller cannot starve the party.
    function _pay(address party, uint256 amountWei) private {
        if (amountWei == 0) return;
        if (gasleft() < PAYOUT_GAS + PAYOUT_RESERVE_GAS) revert GasTooLow(gasleft(), PAYOUT_GAS + PAYOUT_RESERVE_GAS);
        uint256 limit = PAYOUT_GAS;
        bool paid;
        assembly ("memory-safe") {
            paid := call(limit, party, amountWei, 0, 0, 0, 0)
        }
        if (!paid) {
            keptWei[party] += amountWei;
            emit Kept(party, amountWei);
        }
    }

    function _openOfConsumer(uint256 channel) private view returns (Channel storage stored) {
        stored = _open(channel);
        if (msg.sender != stored.consumer) revert NotConsumer(channel, msg.sender);
    }

    function _openOfProducer(uint256 channel) private view returns (Channel storage stored) {
        stored = _open(channel);
        if (msg.sender != stored.producer) revert NotProducer(channel, msg.sender);
    }

    function _open(uint256 channel) private view returns (Channel storage stored) {
        stored = _channels[channel];
        if (stored.consumer == address(0)) {
            if (channel == 0 || channel > channelCount) revert ChannelUnknown(channel, channelCount);
            revert ChannelClosed(channel);
        }
    }

    function _checkValidity(uint256 validUntil) private view {
        uint256 latest = block.timestamp + MAX_VALIDITY_S;
        if (validUntil <= block.timestamp || validUntil > latest) {
            revert ValidityInvalid(validUntil, block.timestamp, latest);
        }
    }

    function _checkPayment(uint256 channel, Channel storage stored, uint256 totalWei, bytes32 r, bytes32 vs)
        private
        view
    {
        if (totalWei > stored.depositWei) revert TotalAboveDeposit(channel, totalWei, stored.depositWei);
        _checkSigner(channel, stored.consumer, paymentHash(channel, msg.sender, totalWei), r, vs);
    }

    /// @dev The short form of a signature has one form only: `s` of the upper half is refused.
    function _checkSigner(uint256 channel, address expected, bytes32 hash, bytes32 r, bytes32 vs) private pure {
        (address signer,,) = ECDSA.tryRecover(hash, r, vs);
        if (signer == address(0) || signer != expected) revert SignatureInvalid(channel, expected);
    }

    /// @dev The domain is computed when it is used, so that the code is the same wherever it stands.
    function _typedDataHash(bytes32 structHash) private view returns (bytes32) {
        bytes32 separator =
            keccak256(abi.encode(DOMAIN_TYPE_HASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }
}
