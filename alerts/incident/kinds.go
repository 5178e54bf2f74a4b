package incident

// The kinds of documents by which alerting is configured. Rules and probes belong to a project, the
// others to an organisation.
const (
	DocRule     = "rule"
	DocProbe    = "probe"
	DocReceiver = "receiver"
	DocTeam     = "team"
	DocPerson   = "person"
	DocSchedule = "schedule"
	DocPolicy   = "policy"
	DocRoutes   = "routes" // one document, RoutesID
	DocSilence  = "silence"
	DocWindow   = "window"
)

// RoutesID is the id of the only document of kind DocRoutes.
const RoutesID = "routes"
