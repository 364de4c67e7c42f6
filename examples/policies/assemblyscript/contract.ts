// The part of the contract that this policy uses, as the canonical ABI of components lays it out: no
// generator knows AssemblyScript. Text of the host stays UTF-8 and where the host wrote it.

export enum Status { True, False, Unknown }
export enum Matching { AllOf, AnyOf }
export enum Enforcement { BootstrapOnly, Continuous }
export enum Completion { None, ThisBoot, EarlierBoot }
export enum TaintAction { Present, Absent, Keep }

// @ts-ignore: decorator
@external("node-readiness:policy/node@0.1.0", "condition-is")
declare function node_condition_is(name: usize, length: usize, status: u32, atLeast: u64): u32;
// @ts-ignore: decorator
@external("node-readiness:policy/node@0.1.0", "has-condition")
declare function node_has_condition(name: usize, length: usize): u32;
// @ts-ignore: decorator
@external("node-readiness:policy/rule@0.1.0", "requirements")
declare function rule_requirements(list: usize): void;
// @ts-ignore: decorator
@external("node-readiness:policy/rule@0.1.0", "match-policy")
declare function rule_match_policy(): u32;
// @ts-ignore: decorator
@external("node-readiness:policy/rule@0.1.0", "mode")
declare function rule_mode(): u32;
// @ts-ignore: decorator
@external("node-readiness:policy/rule@0.1.0", "parameters")
declare function rule_parameters(text: usize): void;
// @ts-ignore: decorator
@external("node-readiness:policy/bootstrap@0.1.0", "completed")
declare function bootstrap_completed(): u32;

/** The host puts here what it hands over. Nothing is freed: each call has a memory of its own. */
export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  const block = heap.alloc(size);
  if (oldSize > 0) memory.copy(block, old, oldSize);
  return block;
}

/** A text of the host, or a list: where it begins, and how long it is. */
@unmanaged
export class Slice {
  start: usize;
  length: u32;
}

// string (8 bytes), enum, option<enum>
const REQUIREMENT: usize = 12;

@unmanaged
export class Requirement {
  name: usize;
  length: u32;
  private requiredStatus: u8;
  private hasFallback: bool;
  private fallbackStatus: u8;

  get required(): Status {
    return this.requiredStatus;
  }

  /** What counts while the node does not show the condition. */
  get fallback(): Status {
    return this.hasFallback ? this.fallbackStatus : Status.Unknown;
  }
}

@unmanaged
export class Requirements {
  start: usize;
  length: u32;

  at(index: u32): Requirement {
    return changetype<Requirement>(this.start + usize(index) * REQUIREMENT);
  }
}

export function requirements(): Requirements {
  const list = heap.alloc(8);
  rule_requirements(list);
  return changetype<Requirements>(list);
}

export function parameters(): Slice {
  const text = heap.alloc(8);
  rule_parameters(text);
  return changetype<Slice>(text);
}

export function conditionIs(wanted: Requirement, status: Status, atLeast: u64): bool {
  return node_condition_is(wanted.name, wanted.length, status, atLeast) != 0;
}

export function hasCondition(wanted: Requirement): bool {
  return node_has_condition(wanted.name, wanted.length) != 0;
}

export function matchPolicy(): Matching {
  return rule_match_policy();
}

export function mode(): Enforcement {
  return rule_mode();
}

export function bootstrapCompleted(): Completion {
  return bootstrap_completed();
}

// variant (12 bytes), bool
const FINDING: usize = 16;

/** An answer that is being made. */
export class Decision {
  taint: TaintAction = TaintAction.Keep;
  completeBootstrap: bool = false;
  reason: string = "";
  findings: usize;
  length: u32 = 0;

  constructor(most: u32) {
    this.findings = heap.alloc(usize(most) * FINDING);
  }

  is(taint: TaintAction, reason: string): void {
    this.taint = taint;
    this.reason = reason;
  }

  /** About the requirement with this index. */
  find(index: u32, met: bool): void {
    const at = this.findings + usize(this.length) * FINDING;
    store<u8>(at, 0);
    store<u32>(at, index, 4);
    store<u8>(at, u8(met), 12);
    this.length++;
  }
}

export function decided(decision: Decision): usize {
  const at = zeros(32);
  store<u8>(at, u8(decision.taint), 4);
  store<u8>(at, u8(decision.completeBootstrap), 5);
  text(at + 8, decision.reason);
  store<usize>(at, decision.findings, 24);
  store<u32>(at, decision.length, 28);
  return at;
}

export function failed(message: string): usize {
  const at = zeros(32);
  store<u8>(at, 1);
  text(at + 4, message);
  return at;
}

export function described(name: string, version: string): usize {
  const at = zeros(32);
  text(at, name);
  text(at + 8, version);
  return at;
}

/** A list of one problem, about the whole, or of none. */
export function problem(message: string | null): usize {
  const list = zeros(8);
  if (message !== null) {
    const at = zeros(16);
    text(at + 8, message);
    store<usize>(list, at);
    store<u32>(list, 1, 4);
  }
  return list;
}

function zeros(size: usize): usize {
  const at = heap.alloc(size);
  memory.fill(at, 0, size);
  return at;
}

function text(at: usize, text: string): void {
  const length = String.UTF8.byteLength(text);
  const bytes = heap.alloc(length);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, bytes);
  store<usize>(at, bytes);
  store<u32>(at, length, 4);
}
