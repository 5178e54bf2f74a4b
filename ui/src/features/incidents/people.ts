import { useQuery } from "@tanstack/react-query";
import { peopleQuery } from "../../lib/alerting";
import type { Person } from "../../lib/api";
import { useProject } from "../../lib/page";

/** Those who can be told; none until they are known. */
export function usePeople(): Person[] {
  const { project } = useProject();
  return useQuery(peopleQuery(project)).data?.map((one) => one.person) ?? [];
}

/** The name of who did something: a person's, or what the server says where it is nobody known. */
export function useNames(): (id: string) => string {
  const people = usePeople();
  return (id) => people.find((one) => one.id === id)?.name ?? id;
}
