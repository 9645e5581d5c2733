import type { VenueDouble } from "./double.ts";
import type { Answer, VenueRequest } from "./endpoint.ts";
import type { FaultName, FaultParams } from "./faults.ts";

type ControlParams = FaultParams & { to?: number };

/** `POST /control/<fault|play|pause|speed|clear>` and `GET /control/stats`: the programmatic API for people. */
export function answerControl(venue: VenueDouble, command: string, request: VenueRequest): Answer {
  if (command !== "stats" && request.method !== "POST") return { status: 405, body: { message: "use POST" } };
  try {
    perform(venue, command, { ...queryParams(request.url), ...bodyParams(request.body) });
    return { status: 200, body: venue.stats };
  } catch (error) {
    return { status: 400, body: { message: error instanceof Error ? error.message : String(error) } };
  }
}

function perform(venue: VenueDouble, command: string, params: ControlParams): void {
  switch (command) {
    case "stats":
      return;
    case "play":
      venue.play();
      return;
    case "pause":
      venue.pause();
      return;
    case "speed":
      venue.setSpeed(String(params.to) === "max" ? Number.POSITIVE_INFINITY : Number(params.to));
      return;
    case "clear":
      venue.clearFaults();
      return;
    default:
      venue.fault(command as FaultName, params);
  }
}

function bodyParams(body: string): ControlParams {
  return body === "" ? {} : (JSON.parse(body) as ControlParams);
}

/** A query has only texts: what looks like a number or a truth value becomes one. */
function queryParams(url: URL): ControlParams {
  const typed = [...url.searchParams].map(([name, value]) => {
    if (value === "true" || value === "false") return [name, value === "true"];
    return [name, value !== "" && Number.isFinite(Number(value)) ? Number(value) : value];
  });
  return Object.fromEntries(typed);
}
