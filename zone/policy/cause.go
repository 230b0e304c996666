package policy

// NoRule is the Rule of a [zone.Decision] that refuses an update because no rule permits it.
const NoRule = "no rule"

// The causes of refusals, for [zone.Decision].
const (
	CauseNone          = "updates-none"  // the zone takes no updates
	CauseUnsigned      = "unsigned"      // the zone takes signed updates only
	CauseDenied        = "denied"        // a deny rule matches
	CauseNoRule        = "no-rule"       // no rule matches
	CauseOwned         = "owned"         // the name belongs to another client, or a service label's host does
	CauseBelow         = "below"         // the name does not exist, and one above it is not the client's
	CauseAdministrator = "administrator" // the name belongs to the administrator
	CauseProtected     = "protected"     // out of reach of the rule owner
	CauseCount         = "count"         // the rule allows no more records of the type there
)

// Causes returns all of them.
func Causes() []string {
	return []string{CauseNone, CauseUnsigned, CauseDenied, CauseNoRule, CauseOwned, CauseBelow, CauseAdministrator, CauseProtected, CauseCount}
}
