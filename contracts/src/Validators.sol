// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Validators: who makes the blocks, as the validators themselves decide
/// @notice Invariant: the list holds from 1 to MAX_VALIDATORS different addresses, none of them zero. It changes by one
///         address at a time, in the transaction by which more than half of those on it are for that change. A vote
///         counts as long as its voter has been on the list since, and its subject has neither come nor gone since.
/// @dev There is no administrator, no money, and no call to anybody. The consensus rules and light clients read two
///      things only: the list in the first storage slots, and ValidatorsChanged.
///
///      The list is the one truth about membership, since nodes may also have to write it from outside: as genesis, and
///      where operators agree on a new list after a majority was lost. So nothing is kept that could contradict it: no
///      positions, and no counts of votes, which are counted anew each time among those present. That the list was
///      written from outside shows by its hash, and then all votes before are void.
///
///      Votes that no longer count are recognised by their age, not sought out: changes are numbered, each vote carries
///      the number of changes before it, and each address the number of the change by which it last came or went.
contract Validators {
    /// @dev One slot.
    struct Vote {
        address subject;
        bool toRemove;
        uint88 changesBefore;
    }

    /// @notice A vote that counts, as `openVotes` reports it.
    /// @param voter the validator that voted
    /// @param subject whom it is about
    /// @param toRemove to remove the subject from the list, else to add it
    struct OpenVote {
        address voter;
        address subject;
        bool toRemove;
    }

    /// @notice A validator voted to add the candidate: `votes` of `needed` are for it now.
    event AdditionVoted(address indexed candidate, address indexed voter, uint256 votes, uint256 needed);
    /// @notice A validator voted to remove the member: `votes` of `needed` are for it now.
    event RemovalVoted(address indexed member, address indexed voter, uint256 votes, uint256 needed);
    /// @notice A validator took back its vote about the subject: `votes` of `needed` remain.
    event VoteWithdrawn(address indexed subject, address indexed voter, uint256 votes, uint256 needed);
    /// @notice The whole list, in no order, after each change; the last event of its transaction.
    event ValidatorsChanged(address[] validators);

    error NotValidator(address caller);
    error ZeroAddress();
    error AlreadyValidator(address candidate);
    error UnknownValidator(address member);
    /// @dev The list would have `count` validators; from 1 to `maximum` are possible.
    error ValidatorCountInvalid(uint256 count, uint256 maximum);
    error AlreadyVoted(address voter, address subject, uint256 votes, uint256 needed);
    error NotVoted(address voter, address subject);
    error TooManyVotes(address voter, uint256 maximum);

    /// @notice Most validators: each block's certificate is checked signature by signature.
    uint256 public constant MAX_VALIDATORS = 128;
    /// @notice Most open votes of one validator. It bounds the work of counting, and keeps a validator that votes for
    ///         all and everything from making the votes of others expensive: 6.5 million gas where all have as many.
    uint256 public constant MAX_OPEN_VOTES = 16;

    /// @dev Must stay the first variable: slot 0 is the length, keccak256(0) + i the address of the i-th.
    address[] private _validators;
    /// @dev Slot 1: hash of the list as this contract last knew it. Who writes the list from outside sets it to zero, so
    ///      that votes are void even where the list comes out as it was.
    bytes32 private _knownHash;
    /// @dev At most MAX_OPEN_VOTES each, those that count no more included until their voter votes again.
    mapping(address voter => Vote[]) private _votes;
    /// @dev The number of the change by which an address came or went, counted from 1; 0: it never did.
    mapping(address subject => uint256 change) private _lastChangeOf;
    uint88 private _changes;
    /// @dev The last change from outside: of the votes before it none counts.
    uint88 private _lastOutsideChange;

    /// @notice Genesis writes the list instead; it passes the same checks there.
    constructor(address[] memory validators_) {
        uint256 count = validators_.length;
        if (count == 0 || count > MAX_VALIDATORS) revert ValidatorCountInvalid(count, MAX_VALIDATORS);
        for (uint256 index = 0; index < count; ++index) {
            address validator = validators_[index];
            if (validator == address(0)) revert ZeroAddress();
            if (isValidator(validator)) revert AlreadyValidator(validator);
            _validators.push(validator);
        }
        emit ValidatorsChanged(validators_);
    }

    /// @notice Votes to add a candidate, and adds it where that makes a majority. By a validator.
    /// @dev As with `voteToRemove`, a vote that stands may be given again where it has become enough meanwhile, because
    ///      the list became shorter: no vote comes in by which that would happen otherwise.
    /// @param candidate address of the key of a node that is not a validator
    function voteToAdd(address candidate) external {
        address[] memory list = _listForVoter();
        if (candidate == address(0)) revert ZeroAddress();
        if (_isOn(list, candidate)) revert AlreadyValidator(candidate);
        if (list.length >= MAX_VALIDATORS) revert ValidatorCountInvalid(list.length + 1, MAX_VALIDATORS);
        (uint256 votes, uint256 needed) = _vote(list, candidate, false);
        emit AdditionVoted(candidate, msg.sender, votes, needed);
        if (votes < needed) return;
        _validators.push(candidate);
        _reportChange(candidate);
    }

    /// @notice Votes to remove a validator, and removes it where that makes a majority. By a validator, also the one
    ///         that is to go; its own votes go with it.
    function voteToRemove(address member) external {
        address[] memory list = _listForVoter();
        uint256 position = _positionOn(list, member);
        if (position == list.length) revert UnknownValidator(member);
        if (list.length == 1) revert ValidatorCountInvalid(0, MAX_VALIDATORS);
        (uint256 votes, uint256 needed) = _vote(list, member, true);
        emit RemovalVoted(member, msg.sender, votes, needed);
        if (votes < needed) return;
        _validators[position] = list[list.length - 1];
        _validators.pop();
        delete _votes[member];
        _reportChange(member);
    }

    /// @notice Takes back the caller's vote about a subject, to add or to remove.
    function withdrawVote(address subject) external {
        address[] memory list = _listForVoter();
        uint256 since = _votesCountSince(subject);
        Vote[] storage own = _votes[msg.sender];
        uint256 position = _find(own, subject, since);
        if (position == own.length) revert NotVoted(msg.sender, subject);
        own[position] = own[own.length - 1];
        own.pop();
        emit VoteWithdrawn(subject, msg.sender, _votersFor(list, subject, since).length, _majority(list.length));
    }

    /// @notice The validators, in no order.
    function validators() external view returns (address[] memory) {
        return _validators;
    }

    /// @notice How many validators there are.
    function validatorCount() external view returns (uint256) {
        return _validators.length;
    }

    /// @notice Votes that a change needs now: more than half of the validators.
    function votesNeeded() external view returns (uint256) {
        return _majority(_validators.length);
    }

    /// @notice What has been voted about a subject.
    /// @return toRemove the subject is a validator, so the votes are to remove it; else to add it
    /// @return voters validators whose vote counts
    /// @return needed votes that the change needs
    /// @return missing votes that it still needs; where this is 0, any validator's vote carries it out
    function proposal(address subject)
        external
        view
        returns (bool toRemove, address[] memory voters, uint256 needed, uint256 missing)
    {
        address[] memory list = _validators;
        toRemove = _isOn(list, subject);
        voters = _isKnown(list) ? _votersFor(list, subject, _votesCountSince(subject)) : new address[](0);
        needed = _majority(list.length);
        missing = voters.length < needed ? needed - voters.length : 0;
    }

    /// @notice All votes that count, voter by voter.
    /// @dev At most MAX_VALIDATORS * MAX_OPEN_VOTES.
    function openVotes() external view returns (OpenVote[] memory open) {
        address[] memory list = _validators;
        if (!_isKnown(list)) return open;
        uint256 most = 0;
        for (uint256 index = 0; index < list.length; ++index) {
            most += _votes[list[index]].length;
        }
        OpenVote[] memory found = new OpenVote[](most);
        uint256 count = 0;
        for (uint256 index = 0; index < list.length; ++index) {
            Vote[] memory votes = _votes[list[index]];
            for (uint256 number = 0; number < votes.length; ++number) {
                Vote memory vote = votes[number];
                if (vote.changesBefore < _votesCountSince(vote.subject)) continue;
                found[count++] = OpenVote(list[index], vote.subject, vote.toRemove);
            }
        }
        open = new OpenVote[](count);
        for (uint256 index = 0; index < count; ++index) {
            open[index] = found[index];
        }
    }

    /// @notice Whether an address is a validator.
    function isValidator(address validator) public view returns (bool) {
        return _isOn(_validators, validator);
    }

    /// @dev The list, for a caller that is on it. Voids all votes where the list was written from outside.
    function _listForVoter() private returns (address[] memory list) {
        list = _validators;
        if (!_isOn(list, msg.sender)) revert NotValidator(msg.sender);
        if (_isKnown(list)) return list;
        _lastOutsideChange = ++_changes;
        _knownHash = _hash(list);
    }

    /// @dev Notes the caller's vote, unless it stands already and is enough by now.
    /// @return votes for this change, with the caller's
    /// @return needed votes that it needs
    function _vote(address[] memory list, address subject, bool toRemove)
        private
        returns (uint256 votes, uint256 needed)
    {
        uint256 since = _votesCountSince(subject);
        needed = _majority(list.length);
        votes = _votersFor(list, subject, since).length;
        Vote[] storage own = _votes[msg.sender];
        _forgetPastVotes(own);
        if (_find(own, subject, since) == own.length) {
            if (own.length == MAX_OPEN_VOTES) revert TooManyVotes(msg.sender, MAX_OPEN_VOTES);
            own.push(Vote(subject, toRemove, _changes));
            ++votes;
        } else if (votes < needed) {
            revert AlreadyVoted(msg.sender, subject, votes, needed);
        }
    }

    /// @dev Takes votes that count no more off a validator's own.
    function _forgetPastVotes(Vote[] storage own) private {
        uint256 index = 0;
        while (index < own.length) {
            if (own[index].changesBefore < _votesCountSince(own[index].subject)) {
                own[index] = own[own.length - 1];
                own.pop();
            } else {
                ++index;
            }
        }
    }

    /// @dev After the list was changed: numbers the change, which voids the votes about the subject, and tells of it.
    function _reportChange(address subject) private {
        address[] memory list = _validators;
        _knownHash = _hash(list);
        _lastChangeOf[subject] = ++_changes;
        emit ValidatorsChanged(list);
    }

    /// @dev The number of changes before the oldest vote about a subject that counts.
    function _votesCountSince(address subject) private view returns (uint256) {
        uint256 change = _lastChangeOf[subject];
        return change > _lastOutsideChange ? change : _lastOutsideChange;
    }

    /// @dev Those on the list whose vote about the subject counts.
    function _votersFor(address[] memory list, address subject, uint256 since)
        private
        view
        returns (address[] memory voters)
    {
        bool[] memory isFor = new bool[](list.length);
        uint256 count = 0;
        for (uint256 index = 0; index < list.length; ++index) {
            Vote[] storage votes = _votes[list[index]];
            if (_find(votes, subject, since) == votes.length) continue;
            isFor[index] = true;
            ++count;
        }
        voters = new address[](count);
        count = 0;
        for (uint256 index = 0; index < list.length; ++index) {
            if (isFor[index]) voters[count++] = list[index];
        }
    }

    /// @dev Where among a validator's votes the one about the subject is; their number where none counts.
    function _find(Vote[] storage votes, address subject, uint256 since) private view returns (uint256 position) {
        uint256 count = votes.length;
        for (position = 0; position < count; ++position) {
            Vote memory vote = votes[position];
            if (vote.subject == subject && vote.changesBefore >= since) return position;
        }
    }

    /// @dev Whether the list is as this contract left it.
    function _isKnown(address[] memory list) private view returns (bool) {
        return _hash(list) == _knownHash;
    }

    function _isOn(address[] memory list, address validator) private pure returns (bool) {
        return _positionOn(list, validator) < list.length;
    }

    /// @dev The length of the list where the validator is not on it.
    function _positionOn(address[] memory list, address validator) private pure returns (uint256 position) {
        while (position < list.length && list[position] != validator) ++position;
    }

    function _hash(address[] memory list) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(list));
    }

    function _majority(uint256 count) private pure returns (uint256) {
        return count / 2 + 1;
    }
}
