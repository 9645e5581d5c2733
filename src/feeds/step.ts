import { decimalOf } from "./decimal.ts";

/** How many decimals a step such as "0.01000000" leaves; 0 when it is unknown. */
export function decimalPlaces(step: unknown): number {
  if (Number.isNaN(decimalOf(step))) return 0;
  const [mantissa = "", power = "0"] = (step as string).toLowerCase().split("e");
  const fraction = (mantissa.split(".")[1] ?? "").replace(/0+$/, "");
  return Math.max(0, fraction.length - Number(power));
}
